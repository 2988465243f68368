-- Whether each line of a page of the journal has its id remembered, and no other is.
-- KEYS  1 ids   2 journal (see apply.lua)    ARGV  1 number of the first line   2 at most so many lines
-- Answer: the number of the next page's first line, 0 where this is the last; how many more ids than lines there are;
--         then of each line that is not remembered as it stands: its number and what is remembered, or ""

local more_ids = redis.call("HLEN", KEYS[1]) - redis.call("LLEN", KEYS[2])
local head = redis.call("LINDEX", KEYS[2], 0)
if not head then
    return {0, more_ids}
end
local start = tonumber(head:match("^%d+"))
local first = math.max(ARGV[1], start)
local lines = redis.call("LRANGE", KEYS[2], first - start, first - start + ARGV[2] - 1)
local reply = {#lines == tonumber(ARGV[2]) and first + #lines or 0, more_ids}
for place, line in ipairs(lines) do
    local fields = cjson.decode(line:match("^%d+ (.*)$"))
    local remembered = redis.call("HGET", KEYS[1], fields[1])
    if remembered ~= fields[7] then
        reply[#reply + 1], reply[#reply + 2] = string.format("%.0f", first + place - 1), remembered or ""
    end
end
return reply

-- Lines of a journal by their numbers. Archived lines are gone from the list's head, so the first tells where it starts.
-- KEYS  1 journal list (see apply.lua)     ARGV  1 first number   2 last number   3 at most so many
-- Answer: the lines there are, oldest first

local head = redis.call("LINDEX", KEYS[1], 0)
if not head then
    return {}
end
local start = tonumber(head:match("^%d+"))
local first = math.max(ARGV[1], start)
local last = math.min(ARGV[2], first + ARGV[3] - 1)
if last < first then
    return {}
end
return redis.call("LRANGE", KEYS[1], first - start, last - start)

-- Lines of a journal by their numbers. Archived lines are gone from the list's head, so the first tells where it starts.
-- KEYS  1 journal list   2 actors hash (see apply.lua)     ARGV  1 first number   2 last number   3 at most so many
-- Answer: the lines there are, oldest first; and who had each of them written (none: no line of the account's names one)

local head = redis.call("LINDEX", KEYS[1], 0)
if not head then
    return {{}, {}}
end
local start = tonumber(head:match("^%d+"))
local first = math.max(ARGV[1], start)
local last = math.min(ARGV[2], first + ARGV[3] - 1)
if last < first then
    return {{}, {}}
end
local lines = redis.call("LRANGE", KEYS[1], first - start, last - start)
if #lines == 0 or redis.call("EXISTS", KEYS[2]) == 0 then
    return {lines, {}}
end
local numbers = {}
for place, line in ipairs(lines) do
    numbers[place] = line:match("^%d+")
end
return {lines, redis.call("HMGET", KEYS[2], unpack(numbers))}

-- Lines of a journal by their numbers. Archived lines are gone from the list's head, so the first tells where it starts.
-- KEYS  1 journal list (see apply.lua)     ARGV  1 first number   2 last number    Answer: the lines there are

local head = redis.call("LINDEX", KEYS[1], 0)
if not head then
    return {}
end
local first = tonumber(head:match("^%d+"))
if tonumber(ARGV[2]) < first then
    return {}
end
return redis.call("LRANGE", KEYS[1], math.max(ARGV[1] - first, 0), ARGV[2] - first)

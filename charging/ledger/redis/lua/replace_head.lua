-- An opening line in the place of the lines that were archived, and their ids forgotten.
-- KEYS  1 ids   2 journal   3 actors (see apply.lua)
-- ARGV  1 number of the first archived line   2 how many there are   3 id   4 digest   5 "NUMBER JSON" of the opening line
--       6… the archived lines' ids, but for those that are forgotten already; at most 5,000, for they stand on Lua's stack
-- Answer: 1, or 0 where the journal begins with another line by now

local head = redis.call("LINDEX", KEYS[2], 0)
if not head or head:match("^%d+") ~= ARGV[1] then
    return 0
end
redis.call("HDEL", KEYS[1], unpack(ARGV, 6))
redis.call("LTRIM", KEYS[2], ARGV[2], -1)
local opening = tonumber(ARGV[5]:match("^%d+"))
for _, number in ipairs(redis.call("HKEYS", KEYS[3])) do  -- people's acts: few beside the lines of calls
    if tonumber(number) <= opening then
        redis.call("HDEL", KEYS[3], number)
    end
end
redis.call("HSET", KEYS[1], ARGV[3], ARGV[4])
redis.call("LPUSH", KEYS[2], ARGV[5])
return 1

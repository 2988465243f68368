-- An opening line in the place of the lines that were archived.
-- KEYS  1 ids   2 journal (see apply.lua)
-- ARGV  1 number of the last archived line   2 id   3 digest   4 "NUMBER JSON" of the opening line

local head = redis.call("LINDEX", KEYS[2], 0)
if not head then
    return 0
end
local gone = redis.call("LPOP", KEYS[2], math.max(ARGV[1] - head:match("^%d+") + 1, 0)) or {}
for _, line in ipairs(gone) do
    redis.call("HDEL", KEYS[1], cjson.decode(line:match("^%d+ (.*)$"))[1])
end
redis.call("HSET", KEYS[1], ARGV[2], ARGV[3])
redis.call("LPUSH", KEYS[2], ARGV[4])
return #gone

-- An account's record, new or edited, where the version that its editor has seen is still the newest.
-- KEYS  1 account hash (version, record)   2 books hash (see apply.lua)
-- ARGV  1 version that was seen, 0 for a new account   2 record        Answer: 1, or 0 for someone was faster

if (redis.call("HGET", KEYS[1], "version") or "0") ~= ARGV[1] then
    return 0
end
redis.call("HSET", KEYS[1], "version", string.format("%.0f", ARGV[1] + 1), "record", ARGV[2])
redis.call("HSETNX", KEYS[2], "#lines", "0")
return 1

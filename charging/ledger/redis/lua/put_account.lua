-- An account's record, new or edited, where the version that its editor has seen is still the newest; and the entry of
-- the index of mail addresses that leads to it.
-- KEYS  1 account hash (version, record, mail: that entry, empty for none)   2 books hash (see apply.lua)
-- ARGV  1 version that was seen, 0 for a new account   2 record   3 entry, empty for none
--       4 the index (zset, all scores 0); empty where it is in another slot
-- Answer: {1, the entry before}, or {0, ""} for someone was faster

local stored = redis.call("HMGET", KEYS[1], "version", "mail")
if (stored[1] or "0") ~= ARGV[1] then
    return {0, ""}
end
local before, entry, index = stored[2] or "", ARGV[3], ARGV[4]
redis.call("HSET", KEYS[1], "version", string.format("%.0f", ARGV[1] + 1), "record", ARGV[2], "mail", entry)
redis.call("HSETNX", KEYS[2], "#lines", "0")
if index ~= "" and before ~= entry then
    if before ~= "" then
        redis.call("ZREM", index, before)
    end
    if entry ~= "" then
        redis.call("ZADD", index, 0, entry)
    end
end
return {1, before}

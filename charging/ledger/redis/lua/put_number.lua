-- A number's record, where the number is free or the account's already, and what its editor has seen is still stored.
-- KEYS  1 number hash (account, record)
-- ARGV  1 account   2 record   3 record that was seen, empty for a new number
-- Answer: 1, or 0 for another account's, or someone was faster

local stored = redis.call("HMGET", KEYS[1], "account", "record")
if (stored[2] or "") ~= ARGV[3] or (stored[1] and stored[1] ~= ARGV[1]) then
    return 0
end
redis.call("HSET", KEYS[1], "account", ARGV[1], "record", ARGV[2])
return 1

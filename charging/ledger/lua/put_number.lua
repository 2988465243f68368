-- A number's record, where the number is free or the account's already.
-- KEYS  1 number hash (account, record)    ARGV  1 account   2 record    Answer: 1, or 0 for another account's

local owner = redis.call("HGET", KEYS[1], "account")
if owner and owner ~= ARGV[1] then
    return 0
end
redis.call("HSET", KEYS[1], "account", ARGV[1], "record", ARGV[2])
return 1

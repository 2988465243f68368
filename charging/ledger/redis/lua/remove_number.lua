-- Forget a number, where what its remover has seen is still stored.
-- KEYS  1 number hash (account, record)
-- ARGV  1 record that was seen
-- Answer: 1, or 0 for another record (it may be another account's by now), or none

if redis.call("HGET", KEYS[1], "record") ~= ARGV[1] then
    return 0
end
return redis.call("DEL", KEYS[1])

-- Write a field as it is, for WAIT to wait for all that this server has written before.
-- KEYS  1 any hash    ARGV  1 field    Answer: 1

redis.call("HSET", KEYS[1], ARGV[1], redis.call("HGET", KEYS[1], ARGV[1]) or "")
return 1

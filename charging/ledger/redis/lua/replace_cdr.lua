-- Another document for a CDR that there is.
-- KEYS  1 cdr hash (see apply.lua)    ARGV  1 session   2 record

if redis.call("HEXISTS", KEYS[1], ARGV[1]) == 1 then
    redis.call("HSET", KEYS[1], ARGV[1], ARGV[2])
end
return 1

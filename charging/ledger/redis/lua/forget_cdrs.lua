-- Take out CDRs, together with their places in time.
-- KEYS  1 cdrs   2 cdr (see apply.lua)    ARGV  their sessions

for _, session in ipairs(ARGV) do
    redis.call("HDEL", KEYS[2], session)
    redis.call("ZREM", KEYS[1], session)
end
return 1

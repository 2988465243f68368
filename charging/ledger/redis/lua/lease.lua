-- A switch's lease, by this server's clock.
-- KEYS  1 lease string "EPOCH OWNER", gone when it has lapsed   2 epoch string, the last one given out
-- ARGV  1 acquire | renew | release   2 owner   3 ttl_ms   4 epoch (renew, release)
-- Answer: the epoch; 0 where another has it, or it has lapsed or passed on

local held = redis.call("GET", KEYS[1])
if ARGV[1] == "acquire" then
    if held and held:match("^%d+ (.*)$") ~= ARGV[2] then
        return 0
    end
    -- At least the time in milliseconds: a fail-over that loses the last epochs must not give one out again.
    local time = redis.call("TIME")
    local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
    local epoch = math.max(tonumber(redis.call("GET", KEYS[2]) or 0) + 1, now_ms)
    redis.call("SET", KEYS[2], string.format("%.0f", epoch))
    redis.call("SET", KEYS[1], string.format("%.0f %s", epoch, ARGV[2]), "PX", ARGV[3])
    return epoch
end
if held ~= ARGV[4] .. " " .. ARGV[2] then
    return 0
end
if ARGV[1] == "renew" then
    redis.call("PEXPIRE", KEYS[1], ARGV[3])
else
    redis.call("DEL", KEYS[1])
end
return tonumber(ARGV[4])

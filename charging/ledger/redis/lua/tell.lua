-- Give the next lines of an account's journal their places in the feed.
-- KEYS  1 feed zset   "ACCOUNT NUMBER DIGEST" of a line, "#COLLECTION/ID" of a document, by place
--       2 told hash   account -> "NUMBER DIGEST" of the last line that was looked at
--       3 news zset   account, or "#COLLECTION/ID", by the time at which it was marked, µs
-- ARGV  1 what was marked   2 told, as it was read ("": nothing)   3 told from now on ("": as before)
--       4 the mark, as it was read, to be taken away; "": none is   5… the lines' members
-- Answer: 1, or 0 where someone else has told meanwhile

if (redis.call("HGET", KEYS[2], ARGV[1]) or "") ~= ARGV[2] then
    return 0
end
local time = redis.call("TIME")
local now_us = time[1] * 1000000 + time[2]
local last = tonumber(redis.call("ZRANGE", KEYS[1], -1, -1, "WITHSCORES")[2] or 0)
for arg = 5, #ARGV do
    if not redis.call("ZSCORE", KEYS[1], ARGV[arg]) then
        last = math.max(last + 1, now_us)
        redis.call("ZADD", KEYS[1], string.format("%.0f", last), ARGV[arg])
    end
end
if ARGV[3] ~= "" then
    redis.call("HSET", KEYS[2], ARGV[1], ARGV[3])
end
if ARGV[4] ~= "" and redis.call("ZSCORE", KEYS[3], ARGV[1]) == ARGV[4] then
    redis.call("ZREM", KEYS[3], ARGV[1])
end
return 1

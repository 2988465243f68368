-- The accounts that are marked because something was booked on them, and documents, the longest marked first, and up to
-- where each account was told; see redis/feed.py.
-- KEYS  1 news zset   2 told hash (see tell.lua)    ARGV  1 at most so many
-- Answer: this server's time in µs; then of each: its name, its mark, what was told ("": nothing yet)

local time = redis.call("TIME")
local reply = {string.format("%.0f", time[1] * 1000000 + time[2])}
local marks = redis.call("ZRANGE", KEYS[1], 0, ARGV[1] - 1, "WITHSCORES")
for place = 1, #marks, 2 do
    reply[#reply + 1], reply[#reply + 2] = marks[place], marks[place + 1]
    reply[#reply + 1] = redis.call("HGET", KEYS[2], marks[place]) or ""
end
return reply

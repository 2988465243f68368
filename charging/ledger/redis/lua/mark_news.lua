-- Mark an account on which something is being booked, or a document that is being written. In a cluster; else apply.lua does it.
-- KEYS  1 news zset (see tell.lua)    ARGV  1 account, or #COLLECTION/ID

local time = redis.call("TIME")
redis.call("ZADD", KEYS[1], string.format("%.0f", time[1] * 1000000 + time[2]), ARGV[1])
return 1

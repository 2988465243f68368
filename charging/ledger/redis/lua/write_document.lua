-- One document, put, updated or deleted: rules 2 to 4 of ledger/documents.py.
-- KEYS  1 documents hash id -> "VERSION DUE_US BODY" (DUE_US empty: never)   2 due zset id by due_us
--       3 ids zset, all scores 0
-- ARGV  1 put | update | delete   2 id   3 version that was read (update, delete)   4 due_us   5 body
--       6 "1": write something even where nothing changes, for WAIT to wait for
--       7 the zset of news (tell.lua), for this script to mark the document there; "": it takes no place, or the caller does
--       8 its mark
-- Answer: 1, or 0 for: there is one already (put); it is not that version any more (update, delete)

local what, id, version, due_us, body, touch, news, mark = unpack(ARGV)
local record = redis.call("HGET", KEYS[1], id)
local stored = record and record:match("^%d+") or "0"

if stored ~= (what == "put" and "0" or version) or (what ~= "put" and not record) then
    if touch == "1" and record then
        redis.call("HSET", KEYS[1], id, record)
    end
    return 0
end

if what == "delete" then
    redis.call("HDEL", KEYS[1], id)
    redis.call("ZREM", KEYS[2], id)
    redis.call("ZREM", KEYS[3], id)
    return 1
end

redis.call("HSET", KEYS[1], id, string.format("%.0f %s ", stored + 1, due_us) .. body)
redis.call("ZADD", KEYS[3], 0, id)
if news ~= "" then
    local time = redis.call("TIME")
    redis.call("ZADD", news, string.format("%.0f", time[1] * 1000000 + time[2]), mark)
end
if due_us == "" then
    redis.call("ZREM", KEYS[2], id)
else
    redis.call("ZADD", KEYS[2], due_us, id)
end
return 1

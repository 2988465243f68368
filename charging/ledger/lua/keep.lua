-- An open session's new record, without moving value.
-- KEYS  1 sessions hash (see apply.lua)    ARGV  1 session   2 state   3 epoch    Answer: outcome

local record = redis.call("HGET", KEYS[1], ARGV[1])
if not record then
    return "session_not_open"
end
local epoch, rest = record:match("^(%d+) ([^\n]*\n[^\n]*\n)")
if tonumber(ARGV[3]) < tonumber(epoch) then
    return "fenced"
end
redis.call("HSET", KEYS[1], ARGV[1], ARGV[3] .. " " .. rest .. ARGV[2])
return "created"

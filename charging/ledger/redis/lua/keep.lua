-- An open session's new record, without moving value.
-- KEYS  1 sessions hash (see apply.lua)    ARGV  1 session   2 state   3 epoch   4 follows      Answer: outcome

local record = redis.call("HGET", KEYS[1], ARGV[1])
if not record then
    return "session_not_open"
end
local epoch, opened_us, sequence, rest = record:match("^(%d+) (%-?%d+) (%d+)( [^\n]*\n[^\n]*\n)")
if tonumber(ARGV[3]) < tonumber(epoch) then
    return "fenced"
elseif sequence ~= "0" and sequence ~= ARGV[4] then
    return "out_of_sequence"
end
redis.call("HSET", KEYS[1], ARGV[1], ARGV[3] .. " " .. opened_us .. " " .. sequence .. rest .. ARGV[2])
return "created"

-- From schema 1 to 2: "EPOCH OPENED_US HOLDS" at the head of a session's record becomes "EPOCH OPENED_US SEQUENCE HOLDS",
-- with 0 for a number that is not known. What has it already is left alone.
-- KEYS  1 sessions hash (see apply.lua)    Answer: how many were changed

local changed = 0
local records = redis.call("HGETALL", KEYS[1])
for place = 1, #records, 2 do
    local head, rest = records[place + 1]:match("^(%d+ %-?%d+)( [^ \n]*\n.*)$")
    if head then
        redis.call("HSET", KEYS[1], records[place], head .. " 0" .. rest)
        changed = changed + 1
    end
end
return changed

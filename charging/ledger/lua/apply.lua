-- One transfer, with the grants before it: rules 1 to 7 of ledger/port.py, as ledger/rules.py says them in Python.
--
-- KEYS  1 books    hash   "#lines" (how many the journal has had; present once the account is), and for each balance
--                         "p:NAME" (posted) and "r:NAME" (reserved)
--       2 ids      hash   transfer id -> digest
--       3 journal  list   "NUMBER JSON"
--       4 sessions hash   session -> "EPOCH OPENED_US HOLDS\nSWITCH\nSTATE", HOLDS being "NAME=AMOUNT;…"
--       5 cdrs     zset   session by the end of its call
--       6 cdr      hash   session -> "ENDED_US DOCUMENT"
-- ARGV  1 change ("", open, keep, close)   2 session   3 epoch   4 switch   5 at_us (close: ended_us)
--       6 state (close: the CDR or "")     7 "1": write something even where nothing changes, for WAIT to wait for
--       8 "" where all floors are 0, else the floors of each line's legs, JSON: [[FLOOR, …], …]
--       9 how the names of the indexes begin, for this script to keep them; "": the caller does (in a cluster they are in
--         other slots, out of a script's reach)
--       10… the lines, the transfer last, as they stand in the journal:
--         [ID, KIND, AT_US, [[BALANCE, POSTED, RESERVED], …], SESSION, REASON, DIGEST]
-- Answer: outcome, detail, the switch of the session, then posted and reserved of each of the transfer's legs.
--
-- Amounts stay below 2^53, where doubles are exact; a sum of two that does not is still seen to pass the limit.

local AMOUNT_MAX = 9007199254740991
local books, ids, journal, sessions, cdrs, cdr = unpack(KEYS)
local change, session, epoch, switch, at_us, state, touch = unpack(ARGV, 1, 7)
local account = books:match("{(.*)}:books$")

local function text(amount)
    return string.format("%.0f", amount)
end

local lines, floors, indexes = {}, ARGV[8] ~= "" and cjson.decode(ARGV[8]), ARGV[9]
for i = 1, #ARGV - 9 do
    local fields = cjson.decode(ARGV[9 + i])
    local line = {id = fields[1], digest = fields[7], json = ARGV[9 + i], legs = {}}
    for j, leg in ipairs(fields[4]) do
        line.legs[j] = {name = leg[1], posted = leg[2], reserved = leg[3], floor = floors and floors[i][j] or 0}
    end
    lines[i] = line
end
local main = lines[#lines]

-- Read everything at once: the count of lines, the balances, the ids.
local fields, names, balances = {"#lines"}, {}, {}
for _, line in ipairs(lines) do
    for _, leg in ipairs(line.legs) do
        if not balances[leg.name] then
            balances[leg.name] = {posted = 0, reserved = 0}
            names[#names + 1] = leg.name
            fields[#fields + 1] = "p:" .. leg.name
            fields[#fields + 1] = "r:" .. leg.name
        end
    end
end
local stored = redis.call("HMGET", books, unpack(fields))
for i, name in ipairs(names) do
    balances[name].posted = tonumber(stored[2 * i] or 0)
    balances[name].reserved = tonumber(stored[2 * i + 1] or 0)
end
local asked = {}
for i, line in ipairs(lines) do
    asked[i] = line.id
end
local digests = redis.call("HMGET", ids, unpack(asked))

local function answer(outcome, detail)
    local reply = {outcome, detail or "", switch}
    for _, leg in ipairs(main.legs) do
        reply[#reply + 1] = text(balances[leg.name].posted)
        reply[#reply + 1] = text(balances[leg.name].reserved)
    end
    return reply
end

local digest = digests[#lines]
if digest then
    if touch == "1" then
        redis.call("HSET", books, "#lines", stored[1])
    end
    if digest == main.digest then
        return answer("exists")
    end
    return answer("differs", "the journal has " .. digest .. ", not " .. main.digest)
end
if not stored[1] then
    return answer("account_not_found")
end

-- The session.
local holds, opened_us = {}, at_us
if change ~= "" then
    local record = redis.call("HGET", sessions, session)
    if change == "open" then
        if record or redis.call("HEXISTS", cdr, session) == 1 then
            return answer("session_exists")
        end
    elseif not record then
        return answer("session_not_open")
    else
        local held_epoch, held_opened, held, held_switch = record:match("^(%d+) (%-?%d+) ([^\n]*)\n([^\n]*)\n")
        if tonumber(epoch) < tonumber(held_epoch) then
            return answer("fenced")
        end
        opened_us, switch = held_opened, held_switch
        for name, amount in held:gmatch("([^;=]+)=(%d+)") do
            holds[name] = tonumber(amount)
        end
    end
end
for _, leg in ipairs(main.legs) do
    local held = (holds[leg.name] or 0) + leg.reserved
    if held < 0 then
        return answer("exceeds_reservation", leg.name)
    end
    holds[leg.name] = held > 0 and held or nil
end
if change == "close" and next(holds) then
    return answer("exceeds_reservation", (next(holds)))
end

-- The money. Where a leg is refused, the answer tells the balances as they are stored.
local before = {}
for name, balance in pairs(balances) do
    before[name] = {posted = balance.posted, reserved = balance.reserved}
end
for i, line in ipairs(lines) do
    if not digests[i] then
        for _, leg in ipairs(line.legs) do
            local balance = balances[leg.name]
            local posted, reserved = balance.posted + leg.posted, balance.reserved + leg.reserved
            local available, refused = posted - reserved, nil
            if math.max(math.abs(posted), math.abs(reserved), math.abs(available)) > AMOUNT_MAX then
                refused = "exceeds_limit"
            elseif leg.posted - leg.reserved < 0 and available < leg.floor then
                refused = "insufficient"
            end
            if refused then
                balances = before
                return answer(refused, leg.name)
            end
            balance.posted, balance.reserved, balance.changed = posted, reserved, true
        end
    end
end

-- Nothing is refused any more: write.
local number, new_ids, new_lines = tonumber(stored[1]), {}, {}
for i, line in ipairs(lines) do
    if not digests[i] then
        number = number + 1
        new_ids[#new_ids + 1] = line.id
        new_ids[#new_ids + 1] = line.digest
        new_lines[#new_lines + 1] = text(number) .. " " .. line.json
    end
end
redis.call("RPUSH", journal, unpack(new_lines))
redis.call("HSET", ids, unpack(new_ids))
local changed = {"#lines", text(number)}
for name, balance in pairs(balances) do
    if balance.changed then
        changed[#changed + 1] = "p:" .. name
        changed[#changed + 1] = text(balance.posted)
        changed[#changed + 1] = "r:" .. name
        changed[#changed + 1] = text(balance.reserved)
    end
end
redis.call("HSET", books, unpack(changed))
if change == "close" then
    redis.call("HDEL", sessions, session)
    if indexes ~= "" then
        redis.call("SREM", indexes .. ":switch:{" .. switch .. "}", session .. " " .. account)
    end
    if state ~= "" then
        redis.call("ZADD", cdrs, at_us, session)
        redis.call("HSET", cdr, session, at_us .. " " .. state)
        if indexes ~= "" then
            redis.call("ZADD", indexes .. ":cdrs", at_us, session .. " " .. account .. " " .. at_us)
        end
    end
elseif change ~= "" then
    local held = {}
    for name, amount in pairs(holds) do
        held[#held + 1] = name .. "=" .. text(amount)
    end
    local record = epoch .. " " .. opened_us .. " " .. table.concat(held, ";") .. "\n" .. switch .. "\n" .. state
    redis.call("HSET", sessions, session, record)
    if change == "open" and indexes ~= "" then
        redis.call("SADD", indexes .. ":switch:{" .. switch .. "}", session .. " " .. account)
        redis.call("SADD", indexes .. ":switches", switch)
    end
end
return answer("created")

-- One transfer, with the grants before it: rules 1 to 7 of ledger/port.py, as ledger/model.py says them in Python.
--
-- KEYS  1 books    hash   "#lines" (how many the journal has had; present once the account is), and for each balance
--                         "p:NAME" (posted) and, once not 0, "r:NAME" (reserved)
--       2 ids      hash   transfer id -> digest
--       3 journal  list   "NUMBER JSON"
--       4 sessions hash   session -> "EPOCH OPENED_US SEQUENCE HOLDS\nSWITCH\nSTATE", HOLDS being "NAME=AMOUNT;…"
--       5 cdrs     zset   session by the end of its call
--       6 cdr      hash   session -> "ENDED_US DOCUMENT"
--       7 actors   hash   number of a line -> who had it written; only of lines that name someone
-- ARGV  1 change ("", open, keep, close, once: it opens and closes)   2 session   3 epoch   4 switch
--       5 at_us (close, once: ended_us)   6 state (close, once: the CDR or "")     7 "1": write something even where nothing changes, for WAIT to wait for
--       8 how the names of the indexes begin, for this script to keep them; "": the caller does (in a cluster they are in
--         other slots, out of a script's reach)
--       9 follows: the number of the session's last transfer, by the caller's books
--       10 who has the transfer done, or ""
--       11 "1": mark the account for the feed (tell.lua), if this script keeps the indexes
--       12 follows + 1
--       13 the names of all balances that are touched, each once, with ";" between them
--       14… the lines, the transfer last; of each: id, digest, its JSON for the journal, and its legs: of each leg the
--         place of its balance in 13, from 0 (one byte), posted, reserved and floor (doubles, the lowest byte first)
-- Answer: outcome, detail (out_of_sequence: the session's record), the switch of the session, then posted and reserved of each of the transfer's legs.
--
-- Amounts stay below 2^53, where doubles are exact; a sum of two that does not is still seen to pass the limit. Numbers
-- become texts by "%.0f" alone, which is exact for all of them; "%d" goes by a C long, which has 32 bits on some machines.
-- Conversions between texts and numbers, and tables, are what a script spends its time on, far more than on what it decides.
-- So legs come as doubles, each amount that is stored is converted once, what is held stays a text where it does not
-- change, only what changes is written, and tables are made with the room that most need.

local AMOUNT_MAX = 9007199254740991
local LEG = "<Bddd"
local call, tonumber, format, take_apart = redis.call, tonumber, string.format, struct.unpack
local books, ids, journal, sessions, cdrs, cdr, actors = unpack(KEYS)
local change, session, epoch, switch, at_us, state, touch, indexes, follows, actor, news, sequence, names = unpack(ARGV, 1, 13)
local main = #ARGV - 3  -- where the transfer's own line begins

local fields, last_field = {"#lines", nil, nil, nil, nil}, 1
for name in names:gmatch("[^;]+") do
    fields[last_field + 1], fields[last_field + 2] = "p:" .. name, "r:" .. name
    last_field = last_field + 2
end
local stored = call("HMGET", books, unpack(fields, 1, last_field))

local function answer(outcome, detail, told)
    local reply, last = {outcome, detail, switch, nil, nil, nil, nil, nil, nil}, 3
    local legs, next_byte = ARGV[main + 3], 1
    while next_byte <= #legs do
        local place, _
        place, _, _, _, next_byte = take_apart(LEG, legs, next_byte)
        reply[last + 1], reply[last + 2] = tonumber(told[2 * place + 2] or 0), tonumber(told[2 * place + 3] or 0)
        last = last + 2
    end
    return reply
end

local digest = call("HGET", ids, ARGV[main])
if digest then
    if touch == "1" then
        call("HSET", books, "#lines", stored[1])
    end
    if digest == ARGV[main + 1] then
        return answer("exists", "", stored)
    end
    return answer("differs", "the journal has " .. digest .. ", not " .. ARGV[main + 1], stored)
end
if not stored[1] then
    return answer("account_not_found", "", stored)
end

-- The session. What it holds is taken apart only where that changes.
local held, opened_us = "", at_us
if change ~= "" then
    local record = call("HGET", sessions, session)
    if change == "open" or change == "once" then
        if record or call("HEXISTS", cdr, session) == 1 then
            return answer("session_exists", "", stored)
        end
    elseif not record then
        return answer("session_not_open", "", stored)
    else
        local held_epoch, held_opened, held_sequence, holding, held_switch =
            record:match("^(%d+) (%-?%d+) (%d+) ([^\n]*)\n([^\n]*)\n")
        if epoch ~= held_epoch and tonumber(epoch) < tonumber(held_epoch) then
            return answer("fenced", "", stored)
        elseif held_sequence ~= "0" and held_sequence ~= follows then
            return answer("out_of_sequence", record, stored)
        end
        held, opened_us, switch = holding, held_opened, held_switch
    end
end

-- The money, and what the session holds. What is wrong with the latter is told first.
local amounts, holds = {nil, nil, nil, nil, nil}, nil  -- by the place of their field; by name
for field = 2, last_field do
    amounts[field] = stored[field] and tonumber(stored[field]) or 0
end
local changed, last = {nil, nil, nil, nil, nil, nil, nil, nil}, 0
local refused, short
local known  -- which of the grants the journal has
for line = 14, main, 4 do
    local is_main = line == main
    if not is_main then
        known = known or {}
        known[line] = call("HGET", ids, ARGV[line])
    end
    local legs, next_byte = ARGV[line + 3], 1
    while next_byte <= #legs and (is_main or not known[line]) do
        local place, moved, more, floor
        place, moved, more, floor, next_byte = take_apart(LEG, legs, next_byte)
        local field = 2 * place + 2
        local posted, reserved = amounts[field] + moved, amounts[field + 1] + more
        local available = posted - reserved
        if refused then
            -- only what is held is still looked at
        elseif posted > AMOUNT_MAX or reserved > AMOUNT_MAX or -available > AMOUNT_MAX then  -- reserved is never below 0
            refused, short = "exceeds_limit", fields[field]
        elseif moved < more and available < floor then
            refused, short = "insufficient", fields[field]
        end
        amounts[field], amounts[field + 1] = posted, reserved
        if moved ~= 0 or not stored[field] then
            changed[last + 1], changed[last + 2] = fields[field], format("%.0f", posted)
            last = last + 2
        end
        if more ~= 0 then
            changed[last + 1], changed[last + 2] = fields[field + 1], format("%.0f", reserved)
            last = last + 2
            if not holds then
                holds = {}
                for name, amount in held:gmatch("([^;=]+)=(%d+)") do
                    holds[name] = amount
                end
            end
            local name = fields[field]:sub(3)
            local amount = (holds[name] or 0) + more
            if amount < 0 then
                return answer("exceeds_reservation", name, stored)
            end
            holds[name] = amount > 0 and format("%.0f", amount) or nil
        end
    end
end
if holds then
    local each, last = {nil, nil, nil}, 0
    for name, amount in pairs(holds) do
        last = last + 1
        each[last] = name .. "=" .. amount
    end
    held = table.concat(each, ";")
end
local closes = change == "close" or change == "once"
if closes and held ~= "" then
    return answer("exceeds_reservation", held:match("^[^=]+"), stored)
elseif refused then
    return answer(refused, short:sub(3), stored)
end

-- Nothing is refused any more: write.
local number, number_text = tonumber(stored[1]), nil
for line = 14, main, 4 do
    if line == main or not known[line] then
        number = number + 1
        number_text = format("%.0f", number)
        call("RPUSH", journal, number_text .. " " .. ARGV[line + 2])
        call("HSET", ids, ARGV[line], ARGV[line + 1])
    end
end
call("HSET", books, "#lines", number_text, unpack(changed, 1, last))
if actor ~= "" then
    call("HSET", actors, number_text, actor)
end
local account  -- whose entries in the indexes change
if indexes ~= "" and (news == "1" or closes or change == "open") then
    account = books:sub(#indexes + 3, -8)  -- of INDEXES:{ACCOUNT}:books
end
if news == "1" and account then
    local time = call("TIME")
    call("ZADD", indexes .. ":{#feed}:news", time[1] * 1000000 + time[2], account)
end
if closes then
    call("HDEL", sessions, session)
    if state ~= "" then
        call("ZADD", cdrs, at_us, session)
        call("HSET", cdr, session, at_us .. " " .. state)
    end
    if account then
        call("SREM", indexes .. ":switch:{" .. switch .. "}", session .. " " .. account)
        if state ~= "" then
            call("ZADD", indexes .. ":cdrs", at_us, session .. " " .. account .. " " .. at_us)
        end
    end
elseif change ~= "" then
    call("HSET", sessions, session, epoch .. " " .. opened_us .. " " .. sequence .. " " .. held .. "\n" .. switch .. "\n" .. state)
    if change == "open" and account then
        call("SADD", indexes .. ":switch:{" .. switch .. "}", session .. " " .. account)
        call("SADD", indexes .. ":switches", switch)
    end
end
return answer("created", "", amounts)

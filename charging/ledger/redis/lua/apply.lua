-- One transfer, with the grants before it: rules 1 to 7 of ledger/port.py, as ledger/model.py says them in Python.
--
-- KEYS  1 books    hash   "#lines" (how many the journal has had; present once the account is), and for each balance
--                         "p:NAME" (posted) and, once not 0, "r:NAME" (reserved)
--       2 ids      hash   transfer id -> digest
--       3 journal  list   "NUMBER JSON"
--       4 sessions hash   session -> "EPOCH OPENED_US SEQUENCE HOLDS\nSWITCH\nSTATE", HOLDS being "NAME=AMOUNT;…"
--       5 cdr      hash   session -> "ENDED_US DOCUMENT"
--       6 cdrs     zset   session by the end of its call
--       7 actors   hash   number of a line -> who had it written; only of lines that name someone
--       So many of them as the transfer needs: three without a session, then keep 4, open 5, close and once 6; with an actor all.
-- ARGV  1 change ("", open, keep, close, once: it opens and closes)   2 session   3 epoch   4 switch
--       5 at_us (close, once: ended_us)   6 state (close, once: the CDR or "")     7 "1": write something even where nothing changes, for WAIT to wait for
--       8 how the names of the indexes begin, for this script to keep them; "": the caller does (in a cluster they are in
--         other slots, out of a script's reach)
--       9 follows: the number of the session's last transfer, by the caller's books
--       10 who has the transfer done, or ""
--       11 "1": mark the account for the feed (tell.lua), if this script keeps the indexes
--       12 follows + 1   13 where in ARGV the transfer's own line begins
--       14… the lines, the transfer last; of each: id, digest, its JSON for the journal, and its legs: of each leg the
--         place of its balance, from 0 (one byte), posted, reserved and floor (doubles, the lowest byte first)
--       and behind them the fields of all balances that are touched, each balance once: "p:NAME", "r:NAME", …
-- Answer: outcome, detail (out_of_sequence: the session's record), the switch of the session, then posted and reserved of
--       each balance that is touched.
--
-- Amounts stay below 2^53, where doubles are exact; a sum of two that does not is still seen to pass the limit. Numbers
-- become texts by "%.0f" alone, which is exact for all of them; "%d" goes by a C long, which has 32 bits on some machines.
-- Conversions between texts and numbers, and tables, are what a script spends its time on, far more than on what it decides.
-- So legs come as doubles, the names of fields as they are stored, each amount that is stored is converted once, what is
-- held stays a text where it does not change, only what changes is written, tables are made with the room that most need,
-- and the function below has no variables of its surroundings, each of which would have to be kept for it.

local AMOUNT_MAX = 9007199254740991
local LEG = "<Bddd"
local call, tonumber, format, take_apart, ARGV = redis.call, tonumber, string.format, struct.unpack, ARGV
local books, ids, journal, sessions, cdr, cdrs, actors = unpack(KEYS)
local change, session, epoch, switch, at_us, state, touch, indexes, follows, actor, news, sequence, main = unpack(ARGV, 1, 13)
main = main + 0
local before, last = main + 2, #ARGV - main - 2  -- in the field ARGV[before + n] is stored[n]; the first is 2, so many there are
local stored = call("HMGET", books, "#lines", unpack(ARGV, main + 4, before + last))

local function refusal(outcome, detail, switch, stored, last)
    local reply = {outcome, detail, switch, nil, nil, nil, nil}
    for field = 2, last do
        reply[field + 2] = (stored[field] or 0) + 0
    end
    return reply
end

local digest = call("HGET", ids, ARGV[main])
if digest then
    if touch == "1" then
        call("HSET", books, "#lines", stored[1])
    end
    if digest == ARGV[main + 1] then
        return refusal("exists", "", switch, stored, last)
    end
    return refusal("differs", "the journal has " .. digest .. ", not " .. ARGV[main + 1], switch, stored, last)
end
if not stored[1] then
    return refusal("account_not_found", "", switch, stored, last)
end

-- The session. What it holds is taken apart only where that changes.
local held, opened_us = "", at_us
if change ~= "" then
    local record = call("HGET", sessions, session)
    if change == "open" or change == "once" then
        if record or call("HEXISTS", cdr, session) == 1 then
            return refusal("session_exists", "", switch, stored, last)
        end
    elseif not record then
        return refusal("session_not_open", "", switch, stored, last)
    else
        local held_epoch, held_opened, held_sequence, holding, held_switch =
            record:match("^(%d+) (%-?%d+) (%d+) ([^\n]*)\n([^\n]*)\n")
        if epoch ~= held_epoch and tonumber(epoch) < tonumber(held_epoch) then
            return refusal("fenced", "", switch, stored, last)
        elseif held_sequence ~= "0" and held_sequence ~= follows then
            return refusal("out_of_sequence", record, switch, stored, last)
        end
        held, opened_us, switch = holding, held_opened, held_switch
    end
end

-- The money, and what the session holds. What is wrong with the latter is told first.
local amounts, holds = {nil, nil, nil, nil, nil}, nil  -- by the place of their field; by name
for field = 2, last do
    amounts[field] = stored[field] and stored[field] + 0 or 0
end
local changed, words = {nil, nil, nil, nil, nil, nil, nil, nil}, 0
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
            refused, short = "exceeds_limit", ARGV[before + field]
        elseif moved < more and available < floor then
            refused, short = "insufficient", ARGV[before + field]
        end
        amounts[field], amounts[field + 1] = posted, reserved
        if moved ~= 0 or not stored[field] then
            changed[words + 1], changed[words + 2] = ARGV[before + field], format("%.0f", posted)
            words = words + 2
        end
        if more ~= 0 then
            local text = reserved == 0 and "0" or format("%.0f", reserved)
            changed[words + 1], changed[words + 2] = ARGV[before + field + 1], text
            words = words + 2
            if not holds then
                holds = {}
                for name, amount in held:gmatch("([^;=]+)=(%d+)") do
                    holds[name] = amount
                end
            end
            local name = ARGV[before + field]:sub(3)
            local amount = (holds[name] or 0) + more
            if amount < 0 then
                return refusal("exceeds_reservation", name, switch, stored, last)
            end
            -- Mostly it is the only session that holds of this balance.
            holds[name] = amount > 0 and (amount == reserved and text or format("%.0f", amount)) or nil
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
    return refusal("exceeds_reservation", held:match("^[^=]+"), switch, stored, last)
elseif refused then
    return refusal(refused, short:sub(3), switch, stored, last)
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
call("HSET", books, "#lines", number_text, unpack(changed, 1, words))
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
return {"created", "", switch, unpack(amounts, 2, last)}

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
--       13… the lines, the transfer last; of each: id, digest, its JSON for the journal, number of legs, and of each leg:
--         balance, posted, reserved, floor
-- Answer: outcome, detail (out_of_sequence: the session's record), the switch of the session, then posted and reserved of each of the transfer's legs.
--
-- Amounts stay below 2^53, where doubles are exact; a sum of two that does not is still seen to pass the limit. Redis
-- writes and answers such numbers exactly; only where they become part of a text, they have to be formatted.
-- Tables and conversions are what a script spends its time on: amounts stand in arrays, each converted once; what is held
-- stays a text where it does not change; only what changes is written; tables are made with the room that most need.

local AMOUNT_MAX = 9007199254740991
local call, tonumber = redis.call, tonumber
local books, ids, journal, sessions, cdrs, cdr, actors = unpack(KEYS)
local change, session, epoch, switch, at_us, state, touch, indexes, follows, actor, news, sequence = unpack(ARGV, 1, 12)
local last_arg = #ARGV

-- Where each line begins in ARGV; the fields of books to be read, and where among them the two of a balance are.
local first_of, asked, field_of = {nil, nil}, {nil}, {}
local fields = {"#lines", nil, nil, nil, nil, nil, nil}
local next_arg, lines, last_field = 13, 0, 1
while next_arg <= last_arg do
    lines = lines + 1
    first_of[lines], asked[lines] = next_arg, ARGV[next_arg]
    local after = next_arg + 4 + 4 * ARGV[next_arg + 3]
    for arg = next_arg + 4, after - 1, 4 do
        local name = ARGV[arg]
        if not field_of[name] then
            field_of[name] = last_field + 1
            fields[last_field + 1], fields[last_field + 2] = "p:" .. name, "r:" .. name
            last_field = last_field + 2
        end
    end
    next_arg = after
end
first_of[lines + 1] = next_arg
local main = first_of[lines]

local stored = call("HMGET", books, unpack(fields, 1, last_field))
local digests = call("HMGET", ids, unpack(asked, 1, lines))

local function answer(outcome, detail, told)
    local reply, last = {outcome, detail, switch, nil, nil, nil, nil, nil, nil}, 3
    for arg = main + 4, last_arg, 4 do
        local field = field_of[ARGV[arg]]
        reply[last + 1], reply[last + 2] = tonumber(told[field] or 0), tonumber(told[field + 1] or 0)
        last = last + 2
    end
    return reply
end

local digest = digests[lines]
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
local closes = change == "close" or change == "once"
local holds
for arg = main + 6, last_arg, 4 do
    local more = ARGV[arg]
    if more ~= "0" then
        if not holds then
            holds = {}
            for name, amount in held:gmatch("([^;=]+)=(%d+)") do
                holds[name] = amount
            end
        end
        local name = ARGV[arg - 2]
        local before = holds[name]
        local amount = (before or 0) + more
        if amount < 0 then
            return answer("exceeds_reservation", name, stored)
        end
        holds[name] = amount > 0 and (before and string.format("%.0f", amount) or more) or nil
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
if closes and held ~= "" then
    return answer("exceeds_reservation", held:match("^[^=]+"), stored)
end

-- The money.
local amounts = {nil, nil, nil, nil, nil, nil, nil}  -- by the place of their field
for field = 2, last_field do
    amounts[field] = tonumber(stored[field] or 0)
end
local changed, last = {nil, nil, nil, nil, nil, nil, nil, nil}, 0
for line = 1, lines do
    if not digests[line] then
        for arg = first_of[line] + 4, first_of[line + 1] - 1, 4 do
            local field, moved, more = field_of[ARGV[arg]], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
            local posted, reserved = amounts[field] + moved, amounts[field + 1] + more
            local available = posted - reserved
            if posted > AMOUNT_MAX or reserved > AMOUNT_MAX or -available > AMOUNT_MAX then  -- reserved is never below 0
                return answer("exceeds_limit", ARGV[arg], stored)
            elseif moved < more and available < tonumber(ARGV[arg + 3]) then
                return answer("insufficient", ARGV[arg], stored)
            end
            amounts[field], amounts[field + 1] = posted, reserved
            if moved ~= 0 or not stored[field] then
                changed[last + 1], changed[last + 2] = fields[field], posted
                last = last + 2
            end
            if more ~= 0 then
                changed[last + 1], changed[last + 2] = fields[field + 1], reserved
                last = last + 2
            end
        end
    end
end

-- Nothing is refused any more: write.
local number = tonumber(stored[1])
for line = 1, lines do
    if not digests[line] then
        local arg = first_of[line]
        number = number + 1
        call("RPUSH", journal, number .. " " .. ARGV[arg + 2])
        call("HSET", ids, ARGV[arg], ARGV[arg + 1])
    end
end
call("HSET", books, "#lines", number, unpack(changed, 1, last))
if actor ~= "" then
    call("HSET", actors, string.format("%.0f", number), actor)
end
local account = indexes ~= "" and books:sub(#indexes + 3, -8)  -- of INDEXES:{ACCOUNT}:books
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
    local head = epoch .. " " .. opened_us .. " " .. sequence .. " "
    call("HSET", sessions, session, head .. held .. "\n" .. switch .. "\n" .. state)
    if change == "open" and account then
        call("SADD", indexes .. ":switch:{" .. switch .. "}", session .. " " .. account)
        call("SADD", indexes .. ":switches", switch)
    end
end
return answer("created", "", amounts)

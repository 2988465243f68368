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
--       12… the lines, the transfer last; of each: id, digest, its JSON for the journal, number of legs, and of each leg:
--         balance, posted, reserved, floor
-- Answer: outcome, detail (out_of_sequence: the session's record), the switch of the session, then posted and reserved of each of the transfer's legs.
--
-- Amounts stay below 2^53, where doubles are exact; a sum of two that does not is still seen to pass the limit. Redis
-- writes and answers such numbers exactly; only where they become part of a text, they have to be formatted.
-- Tables and conversions are what a script spends its time on: amounts stand in arrays, each converted once, and only
-- what changes is written.

local AMOUNT_MAX = 9007199254740991
local books, ids, journal, sessions, cdrs, cdr, actors = unpack(KEYS)
local change, session, epoch, switch, at_us, state, touch, indexes, follows, actor, news = unpack(ARGV, 1, 11)
local account = books:match("{(.*)}:books$")

-- Where each line begins in ARGV; the fields of books to be read, and where among them the two of a balance are.
local first_of, asked, fields, field_of = {}, {}, {"#lines"}, {}
local next_arg, lines, last_field = 12, 0, 1
while next_arg <= #ARGV do
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

local stored = redis.call("HMGET", books, unpack(fields))
local digests = redis.call("HMGET", ids, unpack(asked))
local amounts = {}  -- by the place of their field
for field = 2, last_field do
    amounts[field] = tonumber(stored[field] or 0)
end

local function answer(outcome, detail, told)
    local reply, last = {outcome, detail, switch}, 3
    for arg = main + 4, #ARGV, 4 do
        local field = field_of[ARGV[arg]]
        reply[last + 1], reply[last + 2] = tonumber(told[field] or 0), tonumber(told[field + 1] or 0)
        last = last + 2
    end
    return reply
end

local function unchanged(outcome, detail)
    return answer(outcome, detail, stored)
end

local digest = digests[lines]
if digest then
    if touch == "1" then
        redis.call("HSET", books, "#lines", stored[1])
    end
    if digest == ARGV[main + 1] then
        return unchanged("exists", "")
    end
    return unchanged("differs", "the journal has " .. digest .. ", not " .. ARGV[main + 1])
end
if not stored[1] then
    return unchanged("account_not_found", "")
end

-- The session.
local holds, opened_us = {}, at_us
if change ~= "" then
    local record = redis.call("HGET", sessions, session)
    if change == "open" or change == "once" then
        if record or redis.call("HEXISTS", cdr, session) == 1 then
            return unchanged("session_exists", "")
        end
    elseif not record then
        return unchanged("session_not_open", "")
    else
        local held_epoch, held_opened, sequence, held, held_switch =
            record:match("^(%d+) (%-?%d+) (%d+) ([^\n]*)\n([^\n]*)\n")
        if tonumber(epoch) < tonumber(held_epoch) then
            return unchanged("fenced", "")
        elseif sequence ~= "0" and sequence ~= follows then
            return unchanged("out_of_sequence", record)
        end
        opened_us, switch = held_opened, held_switch
        for name, amount in held:gmatch("([^;=]+)=(%d+)") do
            holds[name] = tonumber(amount)
        end
    end
end
for arg = main + 4, #ARGV, 4 do
    local name = ARGV[arg]
    local held = (holds[name] or 0) + ARGV[arg + 2]
    if held < 0 then
        return unchanged("exceeds_reservation", name)
    end
    holds[name] = held > 0 and held or nil
end
local closes = change == "close" or change == "once"
if closes and next(holds) then
    return unchanged("exceeds_reservation", (next(holds)))
end

-- The money.
local changed = {}
for line = 1, lines do
    if not digests[line] then
        for arg = first_of[line] + 4, first_of[line + 1] - 1, 4 do
            local field, moved, held = field_of[ARGV[arg]], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
            local posted, reserved = amounts[field] + moved, amounts[field + 1] + held
            local available = posted - reserved
            if math.max(posted, reserved, -available) > AMOUNT_MAX then  -- the outermost: reserved is never below 0
                return unchanged("exceeds_limit", ARGV[arg])
            elseif moved < held and available < tonumber(ARGV[arg + 3]) then
                return unchanged("insufficient", ARGV[arg])
            end
            amounts[field], amounts[field + 1] = posted, reserved
            if moved ~= 0 or not stored[field] then
                changed[#changed + 1], changed[#changed + 2] = fields[field], posted
            end
            if held ~= 0 then
                changed[#changed + 1], changed[#changed + 2] = fields[field + 1], reserved
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
        redis.call("RPUSH", journal, number .. " " .. ARGV[arg + 2])
        redis.call("HSET", ids, ARGV[arg], ARGV[arg + 1])
    end
end
redis.call("HSET", books, "#lines", number, unpack(changed))
if actor ~= "" then
    redis.call("HSET", actors, string.format("%.0f", number), actor)
end
if news == "1" and indexes ~= "" then
    local time = redis.call("TIME")
    local now_us = string.format("%.0f", time[1] * 1000000 + time[2])
    redis.call("ZADD", indexes .. ":{#feed}:news", now_us, account)
end
if closes then
    redis.call("HDEL", sessions, session)
    if state ~= "" then
        redis.call("ZADD", cdrs, at_us, session)
        redis.call("HSET", cdr, session, at_us .. " " .. state)
    end
    if indexes ~= "" then
        redis.call("SREM", indexes .. ":switch:{" .. switch .. "}", session .. " " .. account)
        if state ~= "" then
            redis.call("ZADD", indexes .. ":cdrs", at_us, session .. " " .. account .. " " .. at_us)
        end
    end
elseif change ~= "" then
    local held = {}
    for name, amount in pairs(holds) do
        held[#held + 1] = string.format("%s=%.0f", name, amount)
    end
    local head = string.format("%s %s %.0f ", epoch, opened_us, follows + 1)
    redis.call("HSET", sessions, session, head .. table.concat(held, ";") .. "\n" .. switch .. "\n" .. state)
    if change == "open" and indexes ~= "" then
        redis.call("SADD", indexes .. ":switch:{" .. switch .. "}", session .. " " .. account)
        redis.call("SADD", indexes .. ":switches", switch)
    end
end
return answer("created", "", amounts)

-- Documents that are due, or a page of them by id: rules 5 and 6 of ledger/documents.py.
-- KEYS  as of write_document.lua
-- ARGV  1 due | list | back   2 now_us (due); the bound of ZRANGEBYLEX, of ZREVRANGEBYLEX (back)   3 at most so many, up to 1,000
-- Answer: id, record, id, record, …

local ids
if ARGV[1] == "due" then
    ids = redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", ARGV[2], "LIMIT", 0, ARGV[3])
elseif ARGV[1] == "back" then
    ids = redis.call("ZREVRANGEBYLEX", KEYS[3], ARGV[2], "-", "LIMIT", 0, ARGV[3])
else
    ids = redis.call("ZRANGEBYLEX", KEYS[3], ARGV[2], "+", "LIMIT", 0, ARGV[3])
end
local found = {}
if #ids > 0 then
    for place, record in ipairs(redis.call("HMGET", KEYS[1], unpack(ids))) do
        found[2 * place - 1], found[2 * place] = ids[place], record
    end
end
return found

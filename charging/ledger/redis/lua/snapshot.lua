-- All that an account's journal adds up to, at one moment.
-- KEYS  1 books   2 sessions (see apply.lua)    Answer: the fields and values of each

return {redis.call("HGETALL", KEYS[1]), redis.call("HGETALL", KEYS[2])}

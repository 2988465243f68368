-- Forget a number.
-- KEYS  1 number hash (account, record)    Answer: 1, or 0 for there was none

return redis.call("DEL", KEYS[1])

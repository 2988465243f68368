-- This server's wall clock.
-- KEYS  1 any key of the server that is asked    Answer: seconds since the epoch, and microseconds beyond

return redis.call("TIME")

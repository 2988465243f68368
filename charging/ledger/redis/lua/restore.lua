-- Lines of an export, as they are, and the balances that all lines so far add up to.
-- KEYS  1 books   2 ids   3 journal   4 actors (see apply.lua)
-- ARGV  1 how many lines; for each: id, digest, "NUMBER JSON", actor; then the fields of books and their values

local next_arg = 2
for _ = 1, tonumber(ARGV[1]) do
    redis.call("HSET", KEYS[2], ARGV[next_arg], ARGV[next_arg + 1])
    redis.call("RPUSH", KEYS[3], ARGV[next_arg + 2])
    if ARGV[next_arg + 3] ~= "" then
        redis.call("HSET", KEYS[4], ARGV[next_arg + 2]:match("^%d+"), ARGV[next_arg + 3])
    end
    next_arg = next_arg + 4
end
for i = next_arg, #ARGV, 2 do
    redis.call("HSET", KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1

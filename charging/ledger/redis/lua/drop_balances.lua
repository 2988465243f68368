-- Take out balances that are zero.
-- KEYS  1 books (see apply.lua)    ARGV  their names

for _, name in ipairs(ARGV) do
    local amounts = redis.call("HMGET", KEYS[1], "p:" .. name, "r:" .. name)
    if tonumber(amounts[1] or 0) == 0 and tonumber(amounts[2] or 0) == 0 then
        redis.call("HDEL", KEYS[1], "p:" .. name, "r:" .. name)
    end
end
return 1

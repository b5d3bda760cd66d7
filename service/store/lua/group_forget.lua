#!lua flags=allow-oom
-- group_forget: takes a group out of the index, unless somebody has announced another commit meanwhile.
--
-- KEYS  fanout index
-- ARGV  1 group  2 the announcement that was seen (ms)
-- Returns 1 where it is gone

local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) <= tonumber(ARGV[2]) then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return 0

#!lua flags=allow-oom
-- reap: calls a worker dead for ever, but only if its heartbeat still stands where it was seen.
--
-- KEYS  workers
-- ARGV  1 worker  2 counter last seen
-- Returns 1 dead by this call, 2 dead before it, 0 it lives (or is forgotten)

local was = redis.call('HGET', KEYS[1], ARGV[1])
if was == 'dead' then return 2 end
if was ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], 'dead')
return 1

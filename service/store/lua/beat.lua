#!lua flags=allow-oom
-- beat: this worker lives. A worker once called dead, or forgotten, never counts again.
--
-- KEYS  workers
-- ARGV  1 worker
-- Returns the new counter, or 0: take a new identity

local was = redis.call('HGET', KEYS[1], ARGV[1])
if not was or was == 'dead' then return 0 end
return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)

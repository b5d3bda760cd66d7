#!lua flags=allow-oom
-- push_told: the user was told of what waits beyond `best`, and is not told again before it has moved.
--
-- KEYS  state
-- ARGV  1 best ("0-0" for none)
-- Returns 1; 0 where there is no such user any more

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'pushed', ARGV[1])
return 1

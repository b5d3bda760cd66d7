#!lua flags=allow-oom
-- push_told: the user was told of what waits beyond `best`, if that is where it is still.
--
-- KEYS  state
-- ARGV  1 best ("0-0" for none)  2 what `pushed` is to say: best, a space, the newest that was told of
-- Returns 1; 0 where `best` has moved, or there is no such user any more

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if (redis.call('HGET', KEYS[1], 'best') or '0-0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'pushed', ARGV[2])
return 1

#!lua flags=allow-oom
-- enlist: notes a claim that is about to be made, so that a reaper can find it. A script, because whoever may
-- ack, and so free memory, must get in when the server is out of it.
--
-- KEYS  claims
-- ARGV  1 user/device/session
-- Returns 1 noted, 0 it was there

return redis.call('SADD', KEYS[1], ARGV[1])

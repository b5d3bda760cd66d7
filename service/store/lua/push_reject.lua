#!lua flags=allow-oom
-- push_reject: forgets pushers, each only if it is still what it was.
--
-- KEYS  pushers
-- ARGV  per pusher: device, value
-- Returns how many went

local gone = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    gone = gone + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return gone

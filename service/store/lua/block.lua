#!lua flags=allow-oom
-- block: who may not send to a user. Row and flag change together: without the flag an append does not look.
--
-- KEYS  state, blocks (of one user)
-- ARGV  1 "block" or "unblock"  2 whom  3 how many may be blocked
-- Returns 1 it is so now, 0 it was so before, -1 as many are blocked as may be

local call = redis.call
local state, blocks = unpack(KEYS)
local what, whom, most = ARGV[1], ARGV[2], tonumber(ARGV[3])

local changed
if what == 'block' then
  if call('SISMEMBER', blocks, whom) == 0 and call('SCARD', blocks) >= most then return -1 end
  changed = call('SADD', blocks, whom)
  call('HSET', state, 'blocks', '1')
else
  changed = call('SREM', blocks, whom)
  if changed == 1 and call('EXISTS', blocks) == 0 then call('HSET', state, 'blocks', '0') end
end
return changed

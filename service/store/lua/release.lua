#!lua flags=allow-oom
-- release: takes one claim back, but only if it is still the one named.
--
-- KEYS  state, presence, devices, watchers (of one user)
-- ARGV  1 device  2 claim: `worker/session/`, or the whole `worker/session/attempt`
-- Returns {released, waits, rows}
--         released  0 where another claim is there, or none
--         waits     1 where no device is connected any more and something lies beyond what was acked; for a repeat, too
--         rows      where that was the last one: worker, until when (ms) it watches this user, …

local call = redis.call
local state, presence, devices, watchers = unpack(KEYS)
local device, claim = unpack(ARGV)

local function waits()
  if call('EXISTS', presence) == 1 then return 0 end
  local at = call('HMGET', state, 'last', 'best')
  return at[1] and at[1] ~= at[2] and 1 or 0
end

local held = call('HGET', presence, device)
if not held or string.sub(held, 1, #claim) ~= claim then return {0, waits(), {}} end
call('HDEL', presence, device)
local gone = call('EXISTS', presence) == 0
if gone then call('HSET', state, 'online', '0') end
local time = call('TIME')
call('HSET', devices, device, string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)))
return {1, waits(), gone and call('HGETALL', watchers) or {}}

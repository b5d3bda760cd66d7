#!lua flags=allow-oom
-- push_done: gives a lease back, if it is still held.
--
-- KEYS  push:{p}, push:{p}:tries
-- ARGV  1 user  2 lease  3 when to look again (ms), "" where nothing is left to be done
--       4 what `tries` is to say, "" for nothing  5 ms until the second look
-- Returns 1 the row is gone, 2 it will be looked at, 0 the lease had run out
--
-- Where nothing is left to be done there is a second look before the row goes, because a message that is just being
-- appended found the row there and may have been too late for the first one.

local call, format, floor = redis.call, string.format, math.floor
local user, lease, again, tries = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local score = tonumber(call('ZSCORE', KEYS[1], user) or -1)
if floor(score) ~= lease or score == lease then return 0 end
if tries == '' then
  call('HDEL', KEYS[2], user)
else
  call('HSET', KEYS[2], user, tries)
end
if again ~= '' then
  call('ZADD', KEYS[1], format('%.0f', tonumber(again)), user)
  return 2
end
if score % 1 == 0.75 then
  call('ZREM', KEYS[1], user)
  return 1
end
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
call('ZADD', KEYS[1], format('%.2f', now + tonumber(ARGV[5]) + 0.25), user)
return 2

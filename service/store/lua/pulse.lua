#!lua flags=allow-oom
-- pulse: a worker's sign of life for others to read, and a canary for itself. The one place that may create a
-- worker stream. The two outlive the worker by an hour, where nobody reaps it; its claims wait for the reaper.
--
-- KEYS  about, worker (stream)
-- ARGV  1 life of the keys (s)  2 canary count, then field value … of about (none: only the canary)
-- Returns {server's clock (ms), newest id of the stream}

local call = redis.call
local time = call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
if ARGV[3] then call('HSET', KEYS[1], 'beat_at', now, unpack(ARGV, 3)) end
local newest = call('XADD', KEYS[2], '*', '!canary', ARGV[2])
call('EXPIRE', KEYS[1], ARGV[1])
call('EXPIRE', KEYS[2], ARGV[1])
return {now, newest}

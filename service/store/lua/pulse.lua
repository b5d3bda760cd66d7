#!lua flags=allow-oom
-- pulse: a worker's sign of life for others to read, and a canary for itself. The one place that may create a
-- worker stream. Its keys outlive it by an hour, where nobody reaps them.
--
-- KEYS  about, claims, worker (stream)
-- ARGV  1 life of the keys (s)  2 canary count, then field value … of about (none: only the canary)
-- Returns {server's clock (ms), newest id of the stream}

local call = redis.call
local time = call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
if ARGV[3] then call('HSET', KEYS[1], 'beat_at', now, unpack(ARGV, 3)) end
local newest = call('XADD', KEYS[3], '*', '!canary', ARGV[2])
for _, key in ipairs(KEYS) do call('EXPIRE', key, ARGV[1]) end
return {now, newest}

#!lua flags=allow-oom
-- push_lease: takes rows that are due, each for one caller alone, who has `lease` ms to do what is to be done.
-- Whoever dies meanwhile leaves the row where it is: it is due again then.
--
-- KEYS  push:{p}
-- ARGV  1 most rows  2 lease (ms)
-- Returns {now (ms), lease, user, user, …}; a lease is when it runs out (ms)

local call, format = redis.call, string.format
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease = now + tonumber(ARGV[2])
local taken = {now, lease}
local due = call('ZRANGEBYSCORE', KEYS[1], '-inf', format('%.0f', now), 'WITHSCORES', 'LIMIT', 0, ARGV[1])
for i = 1, #due, 2 do
  local second = tonumber(due[i + 1]) % 1 == 0.25
  call('ZADD', KEYS[1], format('%.2f', lease + (second and 0.75 or 0.5)), due[i])
  taken[#taken + 1] = due[i]
end
return taken

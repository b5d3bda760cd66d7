#!lua flags=allow-oom
-- watch: this worker is to be told when a user comes or goes; and how the user stands now. In one step: who comes or
-- goes after it finds the row.
--
-- KEYS  state, presence, devices, watchers (of one user)
-- ARGV  1 worker  2 how long it is to be told (ms)
-- Returns {1 online or 0, when last seen (ms, 0: never), 1 somebody is blocked or 0}

local call = redis.call
local state, presence, devices, watchers = unpack(KEYS)
local time = call('TIME')
local now, life = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), tonumber(ARGV[2])

local rows = call('HGETALL', watchers)
for i = 1, #rows, 2 do
  if tonumber(rows[i + 1]) < now then call('HDEL', watchers, rows[i]) end
end
call('HSET', watchers, ARGV[1], string.format('%.0f', now + life))
call('EXPIRE', watchers, math.floor(life / 1000) + 1)

local seen = 0
rows = call('HGETALL', devices)
for i = 2, #rows, 2 do seen = math.max(seen, tonumber(rows[i])) end
return {call('EXISTS', presence), string.format('%.0f', seen), call('HGET', state, 'blocks') == '1' and 1 or 0}

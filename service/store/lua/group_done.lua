#!lua flags=allow-oom
-- group_done: these fan-outs are ended. Drops what of the log nobody needs. Frees memory, so it may run when the server
-- is out of it.
--
-- KEYS  group, members, log, fanout (of one group)
-- ARGV  1 history (entries)  then numbers
-- Returns how many are still open

local call = redis.call
local group, members, log, fanout = unpack(KEYS)

for i = 2, #ARGV do call('HDEL', fanout, ARGV[i]) end
local s = call('HMGET', group, 'last', 'deleted')
local open = call('HGETALL', fanout)
if s[2] == '1' and #open == 0 then
  call('UNLINK', log, members)
  return 0
end
local keep = tonumber(s[1] or '0') - tonumber(ARGV[1]) + 1
for i = 1, #open, 2 do keep = math.min(keep, tonumber(open[i])) end
if keep > 1 then call('XTRIM', log, 'MINID', '~', string.format('%.0f-0', keep)) end
return #open / 2

#!lua flags=allow-oom
-- read: how far a user has read what somebody, or a group, has sent. The mark only moves forward.
--
-- KEYS  state, marks (of one user)
-- ARGV  1 field of marks  2 what was read: a message's id, or a number in a group
--       3 its cursor; "0-0" of a group: there the numbers count
-- Returns 1 the mark moved, 2 it stood there already, 0 it stands further on

local call, match = redis.call, string.match
local state, marks = KEYS[1], KEYS[2]
local field, what, cursor = ARGV[1], ARGV[2], ARGV[3]

local function parse(text)
  local ms, seq = match(text, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function above(a, b)
  local a_ms, a_seq = parse(a)
  local b_ms, b_seq = parse(b)
  return a_ms > b_ms or (a_ms == b_ms and a_seq > b_seq)
end

local was, at = match(call('HGET', marks, field) or '', '^(%S+) (%d+%-%d+) %d+$')
if was and cursor == '0-0' then
  if tonumber(was) > tonumber(what) then return 0 end
  if tonumber(was) == tonumber(what) then return 2 end
elseif was and not above(at, call('HGET', state, 'last') or '0-0') then -- else of a history that was lost
  if above(at, cursor) then return 0 end
  if at == cursor then return 2 end
end
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
call('HSET', marks, field, what .. ' ' .. cursor .. ' ' .. string.format('%.0f', now))
return 1

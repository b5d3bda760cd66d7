#!lua flags=allow-oom
-- ack: moves device cursors forward, and with them best, floor and what the inbox keeps. Frees memory,
-- so it may run when the server is out of it.
--
-- KEYS  four per op: state, inbox, cursors, devices (of one user)
-- ARGV  1 history (entries)  2 max_pending (entries)  3 device expiry (ms)
--       4 "1" where receipts are made: then what has none yet is kept for them
--       then per op: device, cursor; device "" says that receipts are made up to there
-- Returns one array per op:
--       {1, owed}  the stored cursor moved; owed is 1 where the user owes receipts (owed.lua), else 0
--       {2, owed}  it was there already, or further
--       {3}        beyond the newest entry: ignored
--       {6, text}  this op failed

local call = redis.call
local match, format, floor = string.match, string.format, math.floor

local history, max_pending, expiry = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local receipts = ARGV[4] == '1'
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)

-- So many entries are let go at once, but no more than a tenth of the history: the stream drops whole nodes only.
local step = math.max(1, math.min(100, floor(history / 10)))

local ms_of, seq_of = {}, {} -- of the cursors of this call: the same few are compared again and again

local function parse(cursor)
  if not ms_of[cursor] then
    local ms, seq = match(cursor, '^(%d+)%-(%d+)$')
    ms_of[cursor], seq_of[cursor] = tonumber(ms), tonumber(seq)
  end
  return ms_of[cursor], seq_of[cursor]
end

local function above(a, b)
  if a == b then return false end
  local a_ms, a_seq = parse(a)
  local b_ms, b_seq = parse(b)
  return a_ms > b_ms or (a_ms == b_ms and a_seq > b_seq)
end

-- The lowest and highest cursor among the devices that have a say (seen lately, not too far behind), and their number.
local function judged(cursors, devices, last_seq)
  local seen, low, high, live = {}, nil, nil, 0
  local rows = call('HGETALL', devices)
  for i = 1, #rows, 2 do seen[rows[i]] = tonumber(rows[i + 1]) end
  rows = call('HGETALL', cursors)
  for i = 1, #rows, 2 do
    local _, seq = parse(rows[i + 1])
    if seen[rows[i]] and now - seen[rows[i]] <= expiry and last_seq - seq <= max_pending then
      live = live + 1
      if not low or above(low, rows[i + 1]) then low = rows[i + 1] end
      if not high or above(rows[i + 1], high) then high = rows[i + 1] end
    end
  end
  return low, live, high
end

-- One beyond the newest entry is of a history that was lost: receipts begin anew.
local function owes(best, receipted, last)
  if not receipts or not best or best == '0-0' then return 0 end
  return (not receipted or above(best, receipted) or above(receipted, last)) and 1 or 0
end

-- Writes what has changed of the state, then lets go of what nobody needs any more; up to `trimmed` it may be gone.
-- Receipts hold entries back as a device does: as long as they are not too far behind.
local function write(state, inbox, last, floor_, receipted, trimmed, ...)
  local _, last_seq = parse(last)
  local _, floor_seq = parse(floor_)
  local _, made = parse(receipted or '0-0')
  local keep = math.max(last_seq - floor_seq, history)
  if receipts and last_seq - made <= max_pending then keep = math.max(keep, last_seq - made) end
  if trimmed and last_seq - keep < tonumber(trimmed) + step then
    call('HSET', state, ...)
  else
    call('HSET', state, 'trimmed', format('%.0f', math.max(last_seq - keep, 0)), ...)
    call('XTRIM', inbox, 'MAXLEN', '~', format('%.0f', keep), 'LIMIT', 0) -- all of it now: the next acks may not look
  end
end

-- How long ago a device was last seen. Its ack shows that it is there, which is written down now and then: a write is
-- dearer than a look, since it goes into the append-only file.
local function silence(devices, device)
  local silent = now - tonumber(call('HGET', devices, device) or 0)
  if silent > math.min(expiry / 1000, 60000) or silent < 0 then call('HSET', devices, device, format('%.0f', now)) end
  return silent
end

-- Never beyond best: what this server has lost since may come again under the same numbers.
local function made(state, inbox, upto)
  local s = call('HMGET', state, 'last', 'best', 'receipted', 'floor', 'trimmed')
  local last, best, receipted = s[1] or '0-0', s[2], s[3]
  if not best or above(upto, best) then return {3} end
  if receipted and not above(upto, receipted) and not above(receipted, last) then return {2, 0} end
  if s[4] then
    write(state, inbox, last, s[4], upto, s[5], 'receipted', upto)
  else
    call('HSET', state, 'receipted', upto)
  end
  return {1, owes(best, upto, last)}
end

local function ack(k, device, cursor)
  local state, inbox, cursors, devices = KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3]
  if device == '' then return made(state, inbox, cursor) end
  local s = call('HMGET', state, 'last', 'best', 'floor', 'devices', 'judged', 'trimmed', 'receipted')
  local last, best, low, receipted = s[1] or '0-0', s[2], s[3], s[7]
  if above(cursor, last) then return {3} end
  local was = call('HGET', cursors, device)
  if was and not above(cursor, was) then
    -- One that was silent for too long has its say again from now on.
    if silence(devices, device) > expiry then call('HDEL', state, 'judged') end
    return {2, owes(best, receipted, last)}
  end
  call('HSET', cursors, device, cursor)
  silence(devices, device)
  if not best or above(cursor, best) then best = cursor end

  -- Only the lowest device, or one that had no say, can move the floor; unless the lowest has lost its say: it is
  -- too far behind, or has been silent for too long (looked at now and then).
  local _, last_seq = parse(last)
  local _, low_seq = parse(low or '0-0')
  local judge = last_seq - low_seq > max_pending or now - tonumber(s[5] or 0) > expiry / 100
  if was and low and above(was, low) and not judge then
    call('HSET', state, 'best', best)
    return {1, owes(best, receipted, last)}
  end
  if was == low and s[4] == '1' and not judge then -- the only one there is
    write(state, inbox, last, cursor, receipted, s[6], 'best', best, 'floor', cursor)
    return {1, owes(best, receipted, last)}
  end
  local floor_, live, high = judged(cursors, devices, last_seq)
  best, live = high or best, format('%.0f', live)
  local looked = format('%.0f', now)
  if floor_ then
    write(state, inbox, last, floor_, receipted, s[6], 'best', best, 'judged', looked, 'devices', live, 'floor', floor_)
  else
    call('HSET', state, 'best', best, 'judged', looked, 'devices', live)
  end
  return {1, owes(best, receipted, last)}
end

local results = {}
for op = 0, (#ARGV - 4) / 2 - 1 do
  local fine, result = pcall(ack, op * 4 + 1, ARGV[op * 2 + 5], ARGV[op * 2 + 6])
  results[op + 1] = fine and result or {6, type(result) == 'table' and result.err or tostring(result)}
end
return results

#!lua flags=allow-oom
-- claim: a device is connected here now. Registers the device when it is new.
--
-- KEYS  state, inbox, cursors, devices, presence, watchers, erased (of one user)
-- ARGV  1 device  2 worker  3 session  4 attempt ("0": the device keeps none)
--       5 mode: "new" the device has just connected; "again" a session renews what it lost;
--         "register" no connection, only the device
--       6 device expiry (ms)  7 max_pending (entries)  8 life of an inbox (s)
--       9 deadline (ms, the server's clock)  10 devices a user may have
-- Returns {1, stored, last, held, registered, owed, rows}
--           stored  the device's cursor (a new device: just before the oldest entry kept)
--           last    the newest cursor of the inbox
--           held    the claim this one has replaced, worker/session/attempt, or ""
--           registered  1 where the device was new
--           owed    1 where something was acked and has no receipts yet, else 0 (owed.lua looks)
--           rows    where the user was offline: worker, until when (ms) it watches this user, …
--         {0, held}  refused: a newer connection of this device holds the claim
--         {-1}       too late: whoever asked has given up, and its device may be connected elsewhere
--         {-2}       the device is new, and the user has as many as there may be; nothing was done

local call = redis.call
local match, format, floor = string.match, string.format, math.floor

local state, inbox, cursors, devices, presence, watchers, erased = unpack(KEYS)
local device, worker, session, attempt, mode = unpack(ARGV, 1, 5)
local expiry, max_pending, retention = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)

if now > tonumber(ARGV[9]) then return {-1} end

local held = call('HGET', presence, device) or ''
local held_session, held_attempt = match(held, '^[^/]*/([^/]*)/(%d+)$')
if mode == 'new' and held_attempt and attempt ~= '0' and tonumber(attempt) < tonumber(held_attempt) then
  return {0, held}
end
if mode == 'again' and held_session and held_session ~= session then return {0, held} end

local last = call('HGET', state, 'last')
if not last then
  local tail = call('XREVRANGE', inbox, '+', '-', 'COUNT', 1)
  last = tail[1] and tail[1][1] or '0-0'
end

local stored, registered = call('HGET', cursors, device), 0
local most = tonumber(ARGV[10])
if not stored and mode ~= 'again' and call('HLEN', cursors) >= most then
  -- Room is made by devices that hold no entries back any more and are not connected; never by one that does.
  local rows = call('HGETALL', devices)
  for i = 1, #rows, 2 do
    if now - tonumber(rows[i + 1]) > expiry and call('HEXISTS', presence, rows[i]) == 0 then
      call('HDEL', devices, rows[i])
      call('HDEL', cursors, rows[i])
    end
  end
  if call('HLEN', cursors) >= most then return {-2} end
end
if not stored then
  local oldest = call('XRANGE', inbox, '-', '+', 'COUNT', 1)
  stored, registered = last, 1
  if oldest[1] then
    local ms, seq = match(oldest[1][1], '^(%d+)%-(%d+)$')
    stored = seq == '1' and '0-0' or format('%s-%.0f', ms, tonumber(seq) - 1)
    -- Where a message was deleted just before: its own cursor, or the device would seem to come from a lost history.
    local row = call('ZRANGEBYSCORE', erased, tonumber(seq) - 1, tonumber(seq) - 1)[1]
    if row then stored = match(row, '^%S+') end
  end
  call('HSET', cursors, device, stored)
end
call('HSET', devices, device, format('%.0f', now))

-- Who has a say in what is kept; rows of devices gone for twice the expiry are dropped.
local _, last_seq = match(last, '^(%d+)%-(%d+)$')
local seen, low, low_ms, low_seq, high, high_ms, high_seq, live = {}, nil, nil, nil, '0-0', 0, 0, 0
local rows = call('HGETALL', devices)
for i = 1, #rows, 2 do
  seen[rows[i]] = tonumber(rows[i + 1])
  if now - seen[rows[i]] > 2 * expiry then
    call('HDEL', devices, rows[i])
    call('HDEL', cursors, rows[i])
  end
end
rows = call('HGETALL', cursors)
for i = 1, #rows, 2 do
  local ms, seq = match(rows[i + 1], '^(%d+)%-(%d+)$')
  ms, seq = tonumber(ms), tonumber(seq)
  if seen[rows[i]] and now - seen[rows[i]] <= expiry and tonumber(last_seq) - seq <= max_pending then
    live = live + 1
    if not low or ms < low_ms or (ms == low_ms and seq < low_seq) then
      low, low_ms, low_seq = rows[i + 1], ms, seq
    end
    if ms > high_ms or (ms == high_ms and seq > high_seq) then
      high, high_ms, high_seq = rows[i + 1], ms, seq
    end
  end
end
call('HSET', state, 'last', last, 'devices', format('%.0f', live))
if low then call('HSET', state, 'floor', low) end
if high ~= '0-0' then call('HSET', state, 'best', high) end
local s = call('HMGET', state, 'best', 'receipted')

local came = mode ~= 'register' and call('EXISTS', presence) == 0
if mode ~= 'register' then
  call('HSET', presence, device, worker .. '/' .. session .. '/' .. attempt)
  call('HSET', state, 'online', '1')
end
call('EXPIRE', inbox, retention)
call('EXPIRE', cursors, retention * 2)
call('EXPIRE', devices, retention * 2)
call('EXPIRE', erased, retention * 2)
return {1, stored, last, held, registered, s[1] and s[1] ~= s[2] and 1 or 0, came and call('HGETALL', watchers) or {}}

#!lua
-- append: puts entries into inboxes. A message that this script appended is accepted.
--
-- KEYS  six each, of one user: state, inbox, seen:a, seen:b, presence, and by `what`: "m" "n" blocks; "g" groups;
--       else erased; for as many ops as want the same six
-- ARGV  1 dedupe window (ms)  2 life of an inbox (s)  3 max_pending (entries)
--       4 what the server's clock is known to have reached (ms): entries are not older, whichever server this is
--       then per op:
--       what      "m" the first recipient of a message, edit or reaction, "n" a further one; "x" and "y" the same of
--                 a deletion; "o" the sender's own copy, "c" an entry that nobody is refused for: an own copy where
--                 the recipients' inboxes lie elsewhere and the message is known to be accepted, or a receipt;
--                 "g" a group's entry
--       keys      which of KEYS is the first of its six
--       identity  kind/<from>/<id>; "g": the group
--       print     fingerprint of the body
--       expires   ms from now, "0" for never
--       aside     of a deletion what is erased: "<cursor> <id> <from> …", the row of `erased`, or ""; "g": "<number>
--                 <first> <ts>", the entry's number, the first that is this member's, and when the group gave the number
--                 out (ms; 0: not known); else ""
--       size      how many ARGV follow: field value field value … of the entry
--       or, in short, of a plain message (no `expires`, no `aside`, its `kind id from to body` and nothing else):
--       "M" "N" "O" "C" as those in small letters, keys, identity, print, id, from, to, body
-- Returns one array per op:
--       {1, cursor, prev, presence}  appended; presence is {device, worker/session/attempt, …} or {}
--       {2, cursor}                  a repeat; the first cursor ("g": none)
--       {3}                          the id was used for another body
--       {4}                          the inbox is full ("g": the number is passed over, and noted in groups)
--       {5}                          an entry that nobody is refused for is left out
--       {6, text}                    this op failed and wrote nothing; its neighbours are not touched
--       {7, number}                  "g": this number must be appended before
--       {8}                          the recipient has blocked the sender
--       {9, number}                  "g": the group gives numbers out again that this member has had, up to this one
--       {10}                         what a deletion would erase is deleted already
--
-- Server calls of a plain append: HMGET, HSETNX, XADD, HSET, and HGETALL where somebody is online; of further ones to
-- the same user HSETNX, XADD, HSET.

local call, try = redis.call, redis.pcall
local match, format, floor = string.match, string.format, math.floor

local window, retention, max_pending = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local time = call('TIME')
local now = math.max(tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000), tonumber(ARGV[4]))
local now_said = format('%.0f', now)
local accepted = false -- of the message whose ops are being handled
local states = {} -- of the users that were met: what was read of `state`, as appends have changed it; 9 is presence

local function repeated(was, what, print, state)
  local cursor, first = match(was, '^(%S+) (%S+)$')
  if what == 'o' then return {2, cursor} end
  if first ~= print then return {3} end
  accepted = true
  call('HINCRBY', state, 'repeats', 1) -- a write, so that waiting for durability proves something
  return {2, cursor}
end

-- Takes the message of a deletion out of the stream; pages find in `erased` what was there. Only what it names.
local function erase(k, row)
  local cursor, id, from = match(row, '^(%S+) (%S+) (%S+) ')
  local entry = call('XRANGE', KEYS[k + 1], cursor, cursor)[1]
  if not entry then return end
  local fields, is = entry[2], {}
  for i = 1, #fields, 2 do is[fields[i]] = fields[i + 1] end
  if is.kind ~= 'message' or is.id ~= id or is.from ~= from then return end
  call('XDEL', KEYS[k + 1], cursor)
  call('ZADD', KEYS[k + 5], match(cursor, '%-(%d+)$'), row)
  call('ZREMRANGEBYSCORE', KEYS[k + 5], '-inf', call('HGET', KEYS[k], 'trimmed') or '0')
  call('EXPIRE', KEYS[k + 5], retention * 2)
end

-- The next number of a member: those above must wait for it; numbers below are repeats, for ever. But a group's `ts`
-- never falls: what is later than the number that stands here, and not above it, is of a group that lost its tail.
local function numbered(k, group, aside)
  local number, first, ts = match(aside, '^(%d+) (%d+) (%d+)$')
  number, ts = tonumber(number), tonumber(ts)
  local had, at = match(call('HGET', KEYS[k + 5], group) or '', '^(%d+) ?(%d*)$')
  had, at = tonumber(had or 0), tonumber(at or 0) or 0
  local expected = math.max(had + 1, tonumber(first))
  if number > expected then return {7, expected} end
  if number < expected then
    if ts > 0 and at > 0 and ((number <= had and ts > at) or (number == had and ts ~= at)) then return {9, had} end
    call('HINCRBY', KEYS[k], 'repeats', 1)
    return {2}
  end
end

local function append(k, what, identity, print, expires, aside, first, final, plain)
  local state, inbox, seen, other = KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3]
  local s = states[state]
  if not s then
    s = call('HMGET', state, 'last', 'best', 'online', 'seen', 'turned', 'older', 'devices', 'blocks')
    states[state] = s
  end
  local last, best, online, turned, older = s[1], s[2], s[3], tonumber(s[5]), s[6]
  local number, given
  if what == 'g' then number, given = match(aside, '^(%d+) %d+ (%d+)$') end
  if what == 'o' and (not s[7] or s[7] == '0') then -- no device would show it
    if aside ~= '' then erase(k, aside) end
    return {5}
  end
  if s[4] == 'b' then seen, other = other, seen end
  local blocked = s[8] == '1' and (what == 'm' or what == 'n')
    and call('SISMEMBER', KEYS[k + 5], match(identity, '^[^/]*/([^/]*)/')) == 1
  -- Found where it lay, and deleted since by another deletion: one is enough.
  local gone = (what == 'x' or what == 'y') and aside ~= '' and call('ZSCORE', KEYS[k + 5], aside)
  local odd = number and numbered(k, identity, aside)
  if odd then return odd end

  if not last then -- never used, or somebody deleted the state: the stream still knows
    local tail = call('XREVRANGE', inbox, '+', '-', 'COUNT', 1)
    last = tail[1] and tail[1][1] or '0-0'
  end
  local ms_said, last_seq = match(last, '^(%d+)%-(%d+)$')
  local ms = tonumber(ms_said)
  last_seq = tonumber(last_seq)
  if ms <= now then ms, ms_said = now, now_said end
  local turn = not turned or ms - turned >= window
  local full = last_seq >= max_pending
    and last_seq - (best and tonumber(match(best, '%-(%d+)$')) or 0) >= max_pending
    and call('XLEN', inbox) >= max_pending

  if number then -- its number is its identity
  elseif not turned then -- never used, or somebody deleted the state: which hash was current is not known
    local was = call('HGET', seen, identity) or call('HGET', other, identity)
    if was then return repeated(was, what, print, state) end
  elseif turn or full or blocked or gone then
    local was = call('HGET', seen, identity)
    if was and ms - turned < 2 * window then return repeated(was, what, print, state) end
  end
  if older == '1' and not turn and not number then
    local was = call('HGET', other, identity)
    if was then return repeated(was, what, print, state) end
  end
  if blocked then return {8} end
  if gone then return {10} end
  if full and what == 'o' then
    if aside ~= '' then erase(k, aside) end
    call('HINCRBY', state, 'left_out', 1)
    return {5}
  elseif full then
    if number then
      call('HSET', KEYS[k + 5], identity, number .. ' ' .. given, identity .. '/refused', number)
      call('HINCRBY', state, 'group_refused', 1)
    end
    return {4}
  end

  if turn then
    if not turned then
      older = call('EXISTS', seen) == 1 and '1' or '0'
    else
      older = ms - turned < 2 * window and '1' or '0'
      if older == '0' then call('UNLINK', seen) end
      call('UNLINK', other)
    end
    seen, other = other, seen
  end

  local cursor = ms_said .. format('-%.0f', last_seq + 1)
  if not number and call('HSETNX', seen, identity, cursor .. ' ' .. print) == 0 then
    return repeated(call('HGET', seen, identity), what, print, state)
  end
  local added
  if plain then
    local id, from, to, body = unpack(ARGV, first, final)
    added = try('XADD', inbox, cursor, 'kind', 'message', 'id', id, 'from', from, 'to', to, 'body', body)
  elseif expires == '0' then
    added = try('XADD', inbox, cursor, unpack(ARGV, first, final))
  else
    added = try('XADD', inbox, cursor, 'expires', format('%.0f', ms + tonumber(expires)), unpack(ARGV, first, final))
  end
  if type(added) == 'table' then
    if not number then call('HDEL', seen, identity) end
    return {6, added.err}
  end
  if number then
    call('HSET', KEYS[k + 5], identity, number .. ' ' .. given)
  elseif aside ~= '' then
    erase(k, aside)
  end

  if turn then
    local letter = seen == KEYS[k + 2] and 'a' or 'b'
    -- A number is not looked up there, but the hash must be there to expire.
    if number then call('HSET', seen, 'g/' .. identity .. '/' .. number, cursor .. ' -') end
    call('HSET', state, 'last', cursor, 'seen', letter, 'turned', ms_said, 'older', older)
    s[4], s[5], s[6] = letter, ms_said, older
    call('EXPIRE', seen, floor(window * 2 / 1000) + 1)
    call('EXPIRE', inbox, retention)
  else
    call('HSET', state, 'last', cursor)
  end
  s[1] = cursor
  if what ~= 'o' then accepted = true end
  if not s[9] then
    local presence = online == '1' and try('HGETALL', KEYS[k + 4]) or {}
    s[9] = presence.err and {} or presence -- appended is appended, whatever presence is
  end
  return {1, cursor, last, s[9]}
end

local in_short = {M = 'm', N = 'n', O = 'o', C = 'c'}
local results = {}
local at, op = 5, 0
while ARGV[at] do
  local what, k, identity, print, expires, aside = unpack(ARGV, at, at + 5)
  local plain, first, final = in_short[what], at + 4, at + 7
  if plain then
    what, expires, aside = plain, '0', ''
  else
    first, final = at + 7, at + 6 + tonumber(ARGV[at + 6])
  end
  if what == 'm' or what == 'x' then accepted = false end
  if what == 'o' and not accepted then
    results[op + 1] = {5}
  else
    if what == 'c' then what = 'o' end
    local fine, result =
      pcall(append, tonumber(k), what, identity, print, expires, aside, first, final, plain)
    if fine then
      results[op + 1] = result
    else
      results[op + 1] = {6, type(result) == 'table' and result.err or tostring(result)}
    end
  end
  at, op = final + 1, op + 1
end
return results

#!lua
-- group_commit: gives what is sent into a group its numbers. What has one is owed to every member, whoever dies.
--
-- KEYS  group, members, log, fanout, seen:a, seen:b (of one group)
-- ARGV  1 deadline (ms, the server's clock): the index names this group until then  2 dedupe window (ms)
--       3 what the clock is known to have reached (ms)  4 open fan-outs there may be
--       5 the membership that the caller knows, or ""
--       then per op:
--       identity  kind/<from>/<id>
--       print     fingerprint of the body
--       sender
--       expires   ms from now, "0" for never
--       target    identity of the message it is about, or ""
--       erase     "1" where the target is to be erased
--       size      how many ARGV follow: field value … of the entry; the value of `seq` is put in here
-- Returns {-1}  too late: nothing was done
--         {1, changed, members, …}  `changed` names the present membership; members is {user, stays, …} where the caller
--         does not know it, else {}; then per op:
--           {1, number, ts, members, expires, erased, erased_ts}  committed; the last three are "0" where not asked for
--           {2, number, ts, members, open, erased, erased_ts}     a repeat; open 1 while its fan-out is not ended
--           {3}  the id was used for another body         {4}  no such group, or the sender is no member
--           {5}  too many fan-outs are open               {6}  no such target (any more)
--           {7, text}  this op failed

local call = redis.call
local match, format, floor = string.match, string.format, math.floor
local group, members, log, fanout = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local window, most, known = tonumber(ARGV[2]), tonumber(ARGV[4]), ARGV[5]

local time = call('TIME')
local now = math.max(tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000), tonumber(ARGV[3]))
if now > tonumber(ARGV[1]) then return {-1} end

local s = call('HMGET', group, 'last', 'changed', 'count', 'deleted', 'seen', 'turned', 'older', 'ts')
local last, changed, count, deleted = tonumber(s[1]), s[2] or '', s[3] or '0', s[4] == '1'
local seen, other, letter, turned, older = KEYS[5], KEYS[6], 'a', tonumber(s[6]), s[7]
if s[5] == 'b' then seen, other, letter = other, seen, 'b' end
local ts = format('%.0f', math.max(now, tonumber(s[8] or 0))) -- never falls: inboxes tell a lost history by it
local fresh -- whether the hash that ids are put into is new, and has no expiry

if last and (not turned or now - turned >= window) then
  if not turned then
    older = '0'
  else
    older = now - turned < 2 * window and '1' or '0'
    if older == '0' then call('UNLINK', seen) end
    call('UNLINK', other)
    seen, other, letter = other, seen, letter == 'a' and 'b' or 'a'
  end
  call('HSET', group, 'seen', letter, 'turned', format('%.0f', now), 'older', older)
end

local function lookup(identity)
  return call('HGET', seen, identity) or (older == '1' and call('HGET', other, identity)) or nil
end

-- A row of `seen`: number, fingerprint, ms, members, what a deletion erases and its ms; when it expires (ms, "0" for
-- never) and, once it is deleted, 1.
local ROW = '^(%d+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+) ([01])$'

local function note_deleted(target)
  local hash = call('HEXISTS', seen, target) == 1 and seen or other
  call('HSET', hash, target, (string.gsub(call('HGET', hash, target), '0$', '1')))
end

local function commit(identity, print, sender, expires, target, erase, first, final)
  if not last then return {4} end
  local was = lookup(identity)
  if was then
    local number, said, ts, to, erased, erased_ts = match(was, ROW)
    if said ~= print then return {3} end
    call('HINCRBY', group, 'repeats', 1) -- a write, so that waiting for durability proves something
    return {2, number, ts, to, call('HEXISTS', fanout, number), erased, erased_ts}
  end
  local stays = not deleted and call('HGET', members, sender)
  if not stays or not match(stays, '%d%-$') then return {4} end
  local erased, erased_ts, due = '0', '0', '0'
  if target ~= '' then
    was = lookup(target)
    if not was then return {6} end
    local lies, _, since, _, _, _, until_ms, gone = match(was, ROW)
    if gone == '1' then return {6} end
    due = until_ms
    if erase == '1' then erased, erased_ts, due = lies, since, '0' end
  end
  if call('HLEN', fanout) >= most then return {5} end

  local number = format('%.0f', last + 1)
  local entry, ends = {'ts', ts}, '0'
  if expires ~= '0' then
    ends = format('%.0f', now + tonumber(expires))
  elseif due ~= '0' then -- what is said of a message that expires is gone with it
    ends = format('%.0f', math.max(tonumber(due), now + 1000))
  end
  if ends ~= '0' then
    entry[3], entry[4] = 'expires', ends
  end
  if erased ~= '0' then
    entry[#entry + 1] = 'erases'
    entry[#entry + 1] = erased .. ' ' .. erased_ts
  end
  for i = first, final, 2 do
    entry[#entry + 1] = ARGV[i]
    entry[#entry + 1] = ARGV[i] == 'seq' and number or ARGV[i + 1]
  end
  call('XADD', log, number .. '-0', unpack(entry))
  last = last + 1
  call('HSET', group, 'last', number, 'ts', ts)
  call('HSET', fanout, number, format('%.0f', now))
  local noted = {number, print, ts, count, erased, erased_ts, ends, '0'}
  if fresh == nil then fresh = call('HLEN', seen) == 0 end
  call('HSET', seen, identity, table.concat(noted, ' '))
  if fresh then
    call('EXPIRE', seen, floor(window * 2 / 1000) + 1)
    fresh = false
  end
  if erased ~= '0' then
    call('XDEL', log, erased .. '-0')
    note_deleted(target)
  end
  return {1, number, noted[3], count, ends, erased, erased_ts}
end

local results = {1, changed, known ~= changed and call('HGETALL', members) or {}}
local at = 6
while ARGV[at] do
  local final = at + 6 + tonumber(ARGV[at + 6])
  local fine, result = pcall(
    commit, ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], at + 7, final
  )
  if fine then
    results[#results + 1] = result
  else
    results[#results + 1] = {7, type(result) == 'table' and result.err or tostring(result)}
  end
  at = final + 1
end
return results

#!lua flags=allow-oom
-- owed: what a user has had since receipts were last made, one portion of it: the last message of each sender. Notes
-- all of it in `marks` as delivered, with the time. `receipted` is moved by ack, once the receipts are in; or here, where
-- there are none to make.
--
-- KEYS  three per op: state, inbox, marks (of one user)
-- ARGV  1 entries in a portion  2 bytes of bodies after which the other ops read nothing: they have more
--       then per op: user, after (the `upto` of the portion before; "" for the first)
-- Returns one array per op:
--       {upto, more, sender, id, sender, id, …}  read up to there, more is 1 where that is not all of it; who is owed a
--                  receipt, for which message: not for the user's own, nor for what wants none or has expired
--       {upto, 2}  that was all of it, nobody is owed one, and `receipted` has been moved
--       {}         nothing is owed
--       {6, text}  this op failed

local call = redis.call
local match, format, floor = string.match, string.format, math.floor

local portion = tonumber(ARGV[1])
local room = tonumber(ARGV[2])
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)

local function parse(cursor)
  local ms, seq = match(cursor, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function above(a, b)
  local a_ms, a_seq = parse(a)
  local b_ms, b_seq = parse(b)
  return a_ms > b_ms or (a_ms == b_ms and a_seq > b_seq)
end

-- A mark only moves forward; but one beyond the newest entry is of a history that was lost.
local function mark(marks, field, what, cursor, last)
  local was = call('HGET', marks, field)
  local at = was and match(was, '^%S+ (%d+%-%d+) %d+$')
  if not at or above(cursor, at) or above(at, last) then
    call('HSET', marks, field, what .. ' ' .. cursor .. ' ' .. format('%.0f', now))
  end
end

local function owed(k, user, after)
  local state, inbox, marks = KEYS[k], KEYS[k + 1], KEYS[k + 2]
  local s = call('HMGET', state, 'last', 'best', 'receipted')
  local last, best, whole = s[1] or '0-0', s[2], after == ''
  if whole then
    after = s[3] or '0-0'
    if above(after, last) then after = '0-0' end -- the server has lost its tail
  end
  if not best or not above(best, after) then return {} end
  if room <= 0 then return {after, 1} end

  local rows = call('XRANGE', inbox, '(' .. after, best, 'COUNT', portion)
  local upto = #rows == portion and rows[portion][1] or best
  local had, at, wanted, groups = {}, {}, {}, {} -- by sender, but for groups
  for n = 1, #rows do
    local cursor, fields = rows[n][1], rows[n][2]
    room = room - #fields[#fields]
    if #fields == 10 and fields[2] == 'message' and fields[3] == 'id' and fields[5] == 'from' and fields[7] == 'to' then
      local sender = fields[6] -- nearly all are plain: kind, id, from, to, body
      if sender ~= user then had[sender], at[sender], wanted[sender] = fields[4], cursor, fields[4] end
    else
      local is = {}
      for i = 1, #fields, 2 do is[fields[i]] = fields[i + 1] end
      if is.group and is.seq then
        groups[is.group] = {is.seq, cursor}
      elseif is.kind == 'message' and is.from and is.from ~= user and is.id
        and not (is.expires and tonumber(is.expires) <= now) then
        had[is.from], at[is.from] = is.id, cursor
        if is.receipts ~= 'off' then wanted[is.from] = is.id end
      end
    end
  end
  for group, found in pairs(groups) do mark(marks, 'delivered/group/' .. group, found[1], found[2], last) end
  for sender, id in pairs(had) do mark(marks, 'delivered/user/' .. sender, id, at[sender], last) end
  if whole and upto == best and not next(wanted) then
    call('HSET', state, 'receipted', upto) -- what was kept for them goes with the next ack
    return {upto, 2}
  end
  local result = {upto, upto == best and 0 or 1}
  for sender, id in pairs(wanted) do
    result[#result + 1] = sender
    result[#result + 1] = id
  end
  return result
end

local results = {}
for op = 0, (#ARGV - 2) / 2 - 1 do
  local fine, result = pcall(owed, op * 3 + 1, ARGV[op * 2 + 3], ARGV[op * 2 + 4])
  results[op + 1] = fine and result or {6, type(result) == 'table' and result.err or tostring(result)}
end
return results

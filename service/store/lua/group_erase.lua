#!lua flags=allow-oom
-- group_erase: takes a group's message that was deleted out of inboxes. Pages find in `erased` what was there. Looks at
-- so much and no more: what it did not get to is asked for again. Frees memory, so it may run when the server is out of
-- it.
--
-- KEYS  four per inbox: state, inbox, erased, groups (of one user)
-- ARGV  1 group  2 its number there  3 id  4 from  5 entries to look at  6 bytes of bodies to look at
--       7 life of an inbox (s)  then per inbox where to look, as XRANGE takes it
-- Returns per inbox {1}         it is not there (any more)
--                   {2, where}  to be looked at from there on
--                   {3, next}   the group's entries below `next` are in: it may come yet
--                   {6, text}   this inbox failed

local call = redis.call
local match = string.match
local group, number, id, from = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local entries, bytes = tonumber(ARGV[5]), tonumber(ARGV[6]) -- that may still be looked at
local CHUNK = 16

local function is_it(fields)
  return fields.kind == 'message' and fields.id == id and fields.from == from
end

-- The cursor where it lies; or nil, and where to go on, if anywhere.
local function find(inbox, where)
  while entries > 0 and bytes > 0 do
    local rows = call('XRANGE', inbox, where, '+', 'COUNT', CHUNK)
    for _, row in ipairs(rows) do
      local is = {}
      for i = 1, #row[2], 2 do is[row[2][i]] = row[2][i + 1] end
      local at = is.group == group and tonumber(is.seq)
      if at == number then return is_it(is) and row[1] or nil end
      if at and at > number then return nil end -- numbers of a group stand in their order
      bytes = bytes - #(is.body or '')
      where = '(' .. row[1]
    end
    entries = entries - CHUNK -- also where there is nothing: to ask costs, too
    if #rows < CHUNK then return nil end
  end
  return nil, where
end

local function erase(k, where)
  local had = tonumber(match(call('HGET', KEYS[k + 3], group) or '0', '^%d+'))
  if had < number then return {3, string.format('%.0f', had + 1)} end
  local cursor, on = find(KEYS[k + 1], where)
  if on then return {2, on} end
  if not cursor then return {1} end
  call('XDEL', KEYS[k + 1], cursor)
  local row = table.concat({cursor, id, from, 'group', group .. '/' .. ARGV[2]}, ' ')
  call('ZADD', KEYS[k + 2], match(cursor, '%-(%d+)$'), row)
  call('ZREMRANGEBYSCORE', KEYS[k + 2], '-inf', call('HGET', KEYS[k], 'trimmed') or '0')
  call('EXPIRE', KEYS[k + 2], ARGV[7] * 2)
  return {1}
end

local results = {}
for n = 1, #ARGV - 7 do
  local fine, result = pcall(erase, n * 4 - 3, ARGV[n + 7])
  results[n] = fine and result or {6, type(result) == 'table' and result.err or tostring(result)}
end
return results

#!lua flags=allow-oom
-- group_erase: takes a group's message that was deleted out of inboxes. Pages find in `erased` what was there. Frees
-- memory, so it may run when the server is out of it.
--
-- KEYS  three per inbox: state, inbox, erased (of one user)
-- ARGV  1 group  2 its number there  3 id  4 from  5 ms before which it was not appended  6 entries to look at
--       7 life of an inbox (s)
-- Returns per inbox: the cursor where it lay, or ""

local call = redis.call
local match = string.match
local group, number, id, from, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[6])
local CHUNK = 50

local function find(inbox)
  local position, looked = ARGV[5], 0
  while looked < most do
    local rows = call('XRANGE', inbox, position, '+', 'COUNT', CHUNK)
    for _, row in ipairs(rows) do
      local is = {}
      for i = 1, #row[2], 2 do is[row[2][i]] = row[2][i + 1] end
      if is.group == group and is.seq then
        if is.seq == number then return is.kind == 'message' and is.id == id and is.from == from and row[1] or nil end
        if tonumber(is.seq) > tonumber(number) then return nil end -- numbers of a group stand in their order
      end
      position = '(' .. row[1]
    end
    looked = looked + #rows
    if #rows < CHUNK then return nil end
  end
end

local results = {}
for k = 1, #KEYS, 3 do
  local state, inbox, erased = KEYS[k], KEYS[k + 1], KEYS[k + 2]
  local cursor = find(inbox)
  if cursor then
    call('XDEL', inbox, cursor)
    call('ZADD', erased, match(cursor, '%-(%d+)$'), table.concat({cursor, id, from, 'group', group .. '/' .. number}, ' '))
    call('ZREMRANGEBYSCORE', erased, '-inf', call('HGET', state, 'trimmed') or '0')
    call('EXPIRE', erased, ARGV[7] * 2)
  end
  results[#results + 1] = cursor or ''
end
return results

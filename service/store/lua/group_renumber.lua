#!lua
-- group_renumber: a member has had numbers that this group has lost and given out again: goes on above them. Entries that
-- no member is known to lack nor to have stay owed, under numbers that nobody has seen.
--
-- KEYS  group, members, log, fanout, seen:a, seen:b (of one group)
-- ARGV  1 group  2 the highest number that a member was found to have  then number and ts of each entry, in their order
-- Returns how many entries have new numbers

local call = redis.call
local match, gsub, format = string.match, string.gsub, string.format
local group, members, log, fanout = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local s = call('HMGET', group, 'last', 'ts')
if not s[1] then return 0 end
local last, newest = math.max(tonumber(s[1]), tonumber(ARGV[2])), tonumber(s[2] or '0')

local taken = {}
for i = 3, #ARGV, 2 do
  local number = ARGV[i]
  local row = call('XRANGE', log, number .. '-0', number .. '-0')[1]
  local since = call('HGET', fanout, number)
  if row and since then
    local is = {}
    for j = 1, #row[2], 2 do is[row[2][j]] = row[2][j + 1] end
    if is.ts == ARGV[i + 1] then -- else it is another history's
      taken[#taken + 1] = {number = number, since = since, fields = row[2], is = is}
      call('XDEL', log, number .. '-0')
    end
  end
end

-- Whoever left with an entry gets it still: nothing but events has been given out in between.
local function move_stays(old, new, user)
  for _, row in ipairs(call('XRANGE', log, old .. '-0', new .. '-0', 'COUNT', 1000)) do
    for i = 1, #row[2], 2 do
      if row[2][i] == 'kind' and row[2][i + 1] ~= 'group' then return end
    end
  end
  local flat = user and {user, call('HGET', members, user) or ''} or call('HGETALL', members)
  for i = 1, #flat, 2 do
    local row, changed = gsub(flat[i + 1], '%-' .. old .. '/', '-' .. new .. '/')
    if changed > 0 then
      call('HSET', members, flat[i], row)
      call('HSET', group, 'changed', format('%s-%.0f', new, newest))
    end
  end
end

local function move_row(seen, is, old, new, ts)
  local identity = (is.kind == 'message' and 'm' or is.kind) .. '/' .. is.from .. '/' .. is.id
  local number, said, rest = match(call('HGET', seen, identity) or '', '^(%d+) (%S+) %d+(.*)$')
  if number == old then call('HSET', seen, identity, new .. ' ' .. said .. ' ' .. ts .. rest) end
end

for _, one in ipairs(taken) do
  last, newest = last + 1, math.max(newest, tonumber(one.is.ts))
  local new, ts, fields, is = format('%.0f', last), format('%.0f', newest), one.fields, one.is
  for i = 1, #fields, 2 do
    if fields[i] == 'seq' then
      fields[i + 1] = new
    elseif fields[i] == 'ts' then
      fields[i + 1] = ts
    elseif fields[i] == 'id' and is.kind == 'group' then
      fields[i + 1] = format('%s:%s', ARGV[1], new)
    end
  end
  call('XADD', log, new .. '-0', unpack(fields))
  call('HDEL', fanout, one.number)
  call('HSET', fanout, new, one.since)
  if is.kind ~= 'group' then
    for i = 5, 6 do move_row(KEYS[i], is, one.number, new, ts) end
  elseif is.event == 'left' then
    move_stays(one.number, new, is.user)
  elseif is.event == 'deleted' then
    move_stays(one.number, new)
  end
end
call('HSET', group, 'last', format('%.0f', last), 'ts', format('%.0f', newest))
return #taken

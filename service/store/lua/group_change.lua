#!lua
-- group_change: creates, changes or deletes a group. Each change of it is a numbered entry, owed to every member.
--
-- KEYS  group, members, log, fanout (of one group)
-- ARGV  1 deadline (ms, the server's clock): the index names this group until then  2 dedupe window (ms)
--       3 what the clock is known to have reached (ms)  4 open fan-outs there may be  5 members there may be
--       6 group  7 who asks  8 "1" where that one may change any group
--       9 what: "put" the group is to have these members (and its owner), and is created where there is none;
--         "join", "leave" one user; "delete"
--       10 "1" where a name follows  11 name, or ""
--       then the users
-- Returns {-1}  too late: nothing was done
--         {1, created, first, last, open}  created 1 where the group is new; the numbers of its entries, which the log
--              has (first above last: nothing was to be changed); open: how many fan-outs are not ended
--         {2}  no such group, or who asks is no member   {3}  who asks may not
--         {4}  too many members                          {5}  too many fan-outs are open

local ENDED = 16 -- stays of one user that are over and kept though nothing of them is owed

local call = redis.call
local match, gmatch, format, floor = string.match, string.gmatch, string.format, math.floor
local group, members, log, fanout = unpack(KEYS)
local window, most_open, most = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local id, by, any, what = ARGV[6], ARGV[7], ARGV[8] == '1', ARGV[9]
local named, name = ARGV[10] == '1', ARGV[11]

local time = call('TIME')
local now = math.max(tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000), tonumber(ARGV[3]))
if now > tonumber(ARGV[1]) then return {-1} end

local s = call('HMGET', group, 'last', 'owner', 'name', 'deleted', 'ts')
local last, owner = tonumber(s[1] or '0'), s[2]
local there = s[1] and s[4] ~= '1'
local before = last
local ts = format('%.0f', math.max(now, tonumber(s[5] or 0))) -- never falls: inboxes tell a lost history by it
local rows, count, known = {}, 0, 0 -- user → stays; members, stays
local flat = call('HGETALL', members)
for i = 1, #flat, 2 do
  rows[flat[i]] = flat[i + 1]
  known = known + select(2, string.gsub(flat[i + 1], '%-', ''))
  if match(flat[i + 1], '%d%-$') then count = count + 1 end
end

local function inside(user) return rows[user] and match(rows[user], '%d%-$') end

if not there and what ~= 'put' then return {2} end
local self = what == 'leave' and ARGV[12] == by
if there and not any and owner ~= by and not (self and inside(by)) then return inside(by) and {3} or {2} end
if self and not inside(by) then return {2} end
if call('HLEN', fanout) >= most_open then return {5} end

local touched = {}
local function event(kind, user, more, value)
  last = last + 1
  local number = format('%.0f', last)
  local entry = {'ts', ts, 'kind', 'group', 'id', format('%s:%s', id, number), 'group', id, 'seq', number, 'event', kind,
                 'user', user, 'by', by}
  if more then
    entry[#entry + 1] = more
    entry[#entry + 1] = value
  end
  call('XADD', log, number .. '-0', unpack(entry))
  call('HSET', fanout, number, format('%.0f', now))
end

local function enter(user, joined)
  rows[user] = (rows[user] and rows[user] .. ' ' or '') .. format('%.0f-', joined)
  touched[user] = true
  count = count + 1
end

local function leave(user) -- with the entry that was written last
  rows[user] = format('%s%.0f/%.0f', rows[user], last, now)
  touched[user] = true
  count = count - 1
end

local function joined_of(user) return tonumber(match(rows[user], '(%d+)%-$')) end

local created = 0
if what == 'put' and not there then
  local wanted, size = {[by] = true}, 1
  for i = 12, #ARGV do
    if not wanted[ARGV[i]] then
      wanted[ARGV[i]] = true
      size = size + 1
    end
  end
  if size > most then return {4} end
  created = 1
  for user in pairs(wanted) do enter(user, last) end
  event('created', by, named and 'name' or nil, name)
  owner = by
  call('HDEL', group, 'deleted', 'name')
  call('HSET', group, 'owner', by, 'created_at', format('%.0f', now))
  if named then call('HSET', group, 'name', name) end
elseif what == 'put' then
  local wanted, size, come = {[owner] = true}, 1, {}
  for i = 12, #ARGV do
    local user = ARGV[i]
    if not wanted[user] then
      wanted[user] = true
      size = size + 1
      if not inside(user) then come[#come + 1] = user end
    end
  end
  if size > most then return {4} end
  if named and name ~= (s[3] or '') then
    event('renamed', by, 'name', name)
    call('HSET', group, 'name', name)
  end
  local go = {}
  for user in pairs(rows) do
    if inside(user) and not wanted[user] then go[#go + 1] = user end
  end
  table.sort(go)
  for _, user in ipairs(go) do
    event('left', user)
    leave(user)
  end
  for _, user in ipairs(come) do
    enter(user, last)
    event('joined', user)
  end
elseif what == 'join' then
  local user = ARGV[12]
  if not inside(user) then
    if count >= most then return {4} end
    enter(user, last)
    event('joined', user)
  end
elseif what == 'leave' then
  local user = ARGV[12]
  if inside(user) then
    event('left', user)
    leave(user)
    if user == owner and count > 0 then
      owner = nil
      for other in pairs(rows) do
        if inside(other) then
          local mine, best = joined_of(other), owner and joined_of(owner)
          if not owner or mine < best or (mine == best and other < owner) then owner = other end
        end
      end
      call('HSET', group, 'owner', owner)
    end
  end
elseif what == 'delete' then
  event('deleted', by)
  for user in pairs(rows) do
    if inside(user) then leave(user) end
  end
end
if count == 0 and last > before then
  call('HSET', group, 'deleted', '1')
  call('HDEL', group, 'owner', 'name')
end

if last > before then
  call('HSET', group, 'last', format('%.0f', last), 'ts', ts)
  call('HSET', group, 'changed', format('%.0f-%.0f', last, now), 'count', format('%.0f', count))
  -- Stays that are over are kept while something of them may be owed, or be deleted after; not without bound.
  local lowest = before + 1
  local open = call('HGETALL', fanout)
  for i = 1, #open, 2 do lowest = math.min(lowest, tonumber(open[i])) end
  local grace = known > 4 * most and 0 or 2 * window
  for user, row in pairs(rows) do
    local kept, over = {}, 0
    for stay in gmatch(row, '%S+') do
      local left, at = match(stay, '%-(%d+)/(%d+)$')
      local owed = not left or tonumber(left) >= lowest
      if owed or now - tonumber(at) < grace then kept[#kept + 1] = stay end
      if not owed and now - tonumber(at) < grace then over = over + 1 end
    end
    for _ = ENDED + 1, over do table.remove(kept, 1) end -- the oldest stand first
    local new = table.concat(kept, ' ')
    if new == '' then
      call('HDEL', members, user)
    elseif new ~= row or touched[user] then
      call('HSET', members, user, new)
    end
  end
end
return {1, created, format('%.0f', before + 1), format('%.0f', last), call('HLEN', fanout)}

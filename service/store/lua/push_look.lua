#!lua flags=allow-oom
-- push_look: what waits in a slice of an inbox: messages of others that have not expired. No bodies are handed out.
--
-- KEYS  inbox
-- ARGV  1 the cursor to begin behind  2 user  3 now (ms)  4 most entries
--       5 `all`; `first`: ends with the first that counts; `newest`: with the newest, and goes backwards
-- Returns {count, first, newest, from, group, last}: cursors, "" where none counts; `last` of the slice, "" at its end

local call = redis.call
local begin, what = '(' .. ARGV[1], ARGV[5]
local rows
if what == 'newest' then
  rows = call('XREVRANGE', KEYS[1], '+', begin, 'COUNT', ARGV[4])
else
  rows = call('XRANGE', KEYS[1], begin, '+', 'COUNT', ARGV[4])
end
local count, first, newest, from, group = 0, '', '', '', ''
for _, row in ipairs(rows) do
  local is = {}
  for i = 1, #row[2], 2 do is[row[2][i]] = row[2][i + 1] end
  local expired = is.expires and tonumber(is.expires) <= tonumber(ARGV[3])
  if is.kind == 'message' and is.from ~= ARGV[2] and not expired then
    count = count + 1
    if first == '' then first = row[1] end
    newest, from, group = row[1], is.from or '', is.group or ''
    if what ~= 'all' then break end
  end
end
return {count, first, newest, from, group, #rows < tonumber(ARGV[4]) and '' or rows[#rows][1]}

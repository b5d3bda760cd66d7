#!lua flags=allow-oom
-- skim: the messages of an inbox without their bodies, newest first.
--
-- KEYS  inbox
-- ARGV  1 where to begin, as XREVRANGE has it ("+", or "(" and a cursor)  2 entries to look at
-- Returns {next, {cursor, id, from, to, group, seq, expires, receipts}, …}
--       next   where to go on, "" at the end; of each message the fields it has, "" for the others

local rows = redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', ARGV[2])
local result = {#rows == tonumber(ARGV[2]) and '(' .. rows[#rows][1] or ''}
for _, row in ipairs(rows) do
  local fields, is = row[2], {}
  for i = 1, #fields, 2 do is[fields[i]] = fields[i + 1] end
  if is.kind == 'message' and is.id and is.from then
    result[#result + 1] = {
      row[1], is.id, is.from, is.to or '', is.group or '', is.seq or '', is.expires or '', is.receipts or '',
    }
  end
end
return result

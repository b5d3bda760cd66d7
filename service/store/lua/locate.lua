#!lua flags=allow-oom
-- locate: looks for a message to users by its sender and id among the entries of one inbox, from the newest back, a piece
-- at a time. For those that the dedupe hashes have forgotten. Writes nothing.
--
-- KEYS  inbox
-- ARGV  1 the newest id to look at, as XREVRANGE takes it  2 entries to look at  3 sender  4 id
-- Returns {1, cursor, {field, value, …}}  there it is; without its body
--         {2, cursor}  not among these; go on before this one
--         {3}          not there

local upper, count, sender, id = unpack(ARGV)
local entries = redis.call('XREVRANGE', KEYS[1], upper, '-', 'COUNT', count)
for _, entry in ipairs(entries) do
  local fields, is, told = entry[2], {}, {}
  for i = 1, #fields, 2 do
    is[fields[i]] = fields[i + 1]
    if fields[i] ~= 'body' then
      told[#told + 1] = fields[i]
      told[#told + 1] = fields[i + 1]
    end
  end
  if is.kind == 'message' and is.id == id and is.from == sender and not is.group then return {1, entry[1], told} end
end
if #entries < tonumber(count) then return {3} end
return {2, entries[#entries][1]}

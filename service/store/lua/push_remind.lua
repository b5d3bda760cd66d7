#!lua
-- push_remind: these users may have to be told of a message that is about to be appended. Runs before the append.
--
-- KEYS  push:{p}, push:{p}:tries
-- ARGV  1 when to look (ms)  then users
-- Returns how many rows are new
--
-- A row's score is when to look (ms), and says by its fraction how far that has come:
--   .0   wait until then
--   .5   leased until then: somebody is looking into that inbox
--   .25  looked into once, nothing found: look again then, for what was being appended meanwhile
--   .75  leased for that second look, after which the row goes
-- A row that is reminded of starts again: what is appended after this is seen by a look of which none has begun.
-- One that waits already is due at the earlier of the two times, because the clock it was written by may have been
-- ahead; but not where a try has failed: that one waits as long as it was told to.

local call, format = redis.call, string.format
local new = 0
for i = 2, #ARGV do
  local score = tonumber(call('ZSCORE', KEYS[1], ARGV[i]) or -1)
  if score < 0 then
    call('ZADD', KEYS[1], format('%.0f', tonumber(ARGV[1])), ARGV[i])
    new = new + 1
  elseif score % 1 == 0.75 then
    call('ZADD', KEYS[1], format('%.2f', score - 0.25), ARGV[i])
  elseif score % 1 == 0.25 then
    call('ZADD', KEYS[1], format('%.0f', math.min(score - 0.25, tonumber(ARGV[1]))), ARGV[i])
  elseif score % 1 == 0 and score > tonumber(ARGV[1]) and call('HEXISTS', KEYS[2], ARGV[i]) == 0 then
    call('ZADD', KEYS[1], format('%.0f', tonumber(ARGV[1])), ARGV[i])
  end
end
return new

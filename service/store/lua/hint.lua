#!lua
-- hint: an entry of a worker stream, for whoever reads there now. It is kept in memory only, so that no recipient waits
-- for a second fsync: neither the append-only file nor a replica gets it. Who reads there begins anew at the newest
-- entry after a restart or a failover, so that nothing would ever be read of it again.
--
-- KEYS  worker (stream)
-- ARGV  1 entries it keeps at most (approximately), then field value … of the entry (at most 3,900 fields)
-- Returns the entry's id; nil: there is no such worker; 0: its stream is something else

if redis.set_repl then redis.set_repl(redis.REPL_NONE) end -- a server that cannot do so writes it down
local id = redis.pcall('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 2))
return type(id) == 'table' and id.err and 0 or id

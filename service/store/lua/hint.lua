#!lua
-- hint: an entry of a worker stream, for whoever reads there now. It is kept in memory only, so that no recipient waits
-- for a second fsync: it is written neither to the append-only file nor to replicas (a rewrite of the file and a whole
-- copy for a replica take along what is there just then). After a restart, a failover or a move of the slot the reader
-- begins anew at the newest entry, so that nothing would ever be read of it again.
--
-- KEYS  worker (stream)
-- ARGV  1 entries it keeps at most (approximately), then field value … of the entry (at most 3,900 fields)
-- Returns the entry's id; nil: there is no such worker; 0: it was not added (that key is no stream)

if redis.set_repl then redis.set_repl(redis.REPL_NONE) end -- a server that cannot do so writes it down
local id = redis.pcall('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 2))
return type(id) == 'table' and id.err and 0 or id

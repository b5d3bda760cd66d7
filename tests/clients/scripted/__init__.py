"""A server for tests of clients: it speaks the wire protocol and misbehaves as a script says.

`inboxes` is what it remembers, `script` what goes wrong and when, `rules` what it holds a client to; `session` is one
connection, `server` all of them. No code of the service is used here.
"""

"""The protocol, black box: a running service, real sockets. One file a subject."""

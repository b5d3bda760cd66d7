"""Real servers, services and faulty networks on this machine, for the tests and the chaos run.

`redis_server` one server; `sentinel_group` and `cluster_group` several; `rights` the user they know the service as;
`clock` a wall clock of their own; `service` inboxd as its operator runs it; `tcp_proxy` what a network may do to
bytes, `proxy` the same where Redis is spoken, `netns` to packets; `processes` kill, pause, resume; `ports` and
`timing` what all of them need.
"""

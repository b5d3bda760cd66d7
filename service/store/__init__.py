"""The store: every key, script and Redis call. The only package that imports redis.

`keys` is the catalogue; `client` the connections and the one place where Redis exceptions are
translated; `scripts` runs `lua/*.lua`; `inbox`, `presence` and `worker_stream` hold the typed calls.
"""

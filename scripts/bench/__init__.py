"""The benchmark: `python -m scripts.bench` starts real servers, loads them over the wire, prints figures.

Nothing of the service is imported; what is measured is what `docs/protocol.md` promises, with tokens, as in
production. In the order of one run:

- `subjects`: what is measured, the server each needs, its figures and marks; `measure`: one of them, once; `series`:
  one thing in several sizes, in turns.
- `setups`: how a service is to run; `server` starts and stops it in a data folder of its own, `stores` the servers it
  asks for; `usage` reads what its processes cost; `redis_info` what each server call cost.
- `plain`, `plain_app`: a plain FastAPI route, which HTTP is set beside.
- `redis_load`: the yardstick, pipelined XADDs against the same server, in the same minute.
- `crew`: load generators as processes of their own, held at gates so that readings fall between phases.
- `ws_frames`, `ws_client`, `http_client`, `tokens`, `outbox` (one write a turn of the loop): lean clients, so that the
  load is not the bottleneck.
- `ws_load`, `http_load`, `pairs`, `latency`, `replay`, `idle`, `group_load`: one load each; `pace`: sending by the
  clock; `fill`: what must be there before.
- `peers`: other systems beside this service, all under one load; a command of its own.
- `stats`, `report`: medians, ratios, tables, JSON.
"""

"""The benchmark: `python -m scripts.bench` starts real servers, loads them over the wire, prints figures.

Nothing of the service is imported; what is measured is what `docs/protocol.md` promises. In the order
of one run:

- `subjects`: what is measured, the server each needs, its figures and marks; `measure`: one subject, once.
- `server`: starts and stops a service on an embedded Redis in a data folder of its own; `usage` reads what
  its processes cost; `redis_info` what each server call cost.
- `redis_load`: the yardstick, pipelined XADDs against the same server, in the same minute.
- `crew`: load generators as processes of their own, held at gates so that readings fall between phases.
- `ws_frames`, `ws_client`, `http_client`: lean clients, so that the load is not the bottleneck.
- `ws_load`, `http_load`, `pairs`, `latency`, `replay`, `idle`: one subject each.
- `stats`, `report`: medians, ratios, tables, JSON.
"""

"""What it costs to serve a number of users, and what happens when a part of it dies. Pure but for `measure`.

- `costs`: µs and bytes of each stage, from `measured.json`, which `measure` (with `stages`) writes on a real service.
- `assumptions`: how many people, how they write; `model`: from both to cores, shards, memory, bytes and limits.
- `simulation`, `slices`, `queues`: a part of it in motion: bursts, a worker, a zone or a shard that dies.
- `fit`: the simulation beside the service that was measured.
- `page`: the tables of docs/scaling.md. `python -m scripts.sizing --help` prints any of it.
"""

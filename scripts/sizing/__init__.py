"""What it costs to serve a number of users, and what happens when a part of it dies. Pure but for `measure`.

- `costs`: µs and bytes of each stage, from `measured.json`, which `measure` writes on a real service.
- `assumptions`: how many people, how they write; `model`: from both to cores, shards, memory, bytes and limits.
- `simulation`, `queues`: a part of such a service in motion: bursts, a worker, a zone or a shard that dies.
- `page`: the tables of docs/scaling.md. `python -m scripts.sizing --help` prints any of it.
"""

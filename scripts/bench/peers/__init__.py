"""inboxd beside other systems, all of them driven by the same load in one run: `python -m scripts.bench.peers`.

- `peer`: what a system must offer to be driven; `roster`: all of them. One file each: `inboxd`, `pubsub`, …
- `traffic`: the load, over any client; the measures, one file each: `idle`, `saturated`, `steady`, `offline`,
  `replay`, `kills`; `sizes`: how long, how many; `reading`: what processes cost.
- `rounds`: every system once, round after round, so that what the machine does meanwhile befalls all of them.
- `marks`: what is to be reached beside whom; `floor`: what a message costs where that was missed; `page`: the
  tables, printed and written into `docs/benchmarks.md`.
"""

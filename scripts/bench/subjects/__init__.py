"""The subjects of the benchmark, by the server they need: what is measured, its figures and marks."""

from scripts.bench.setups import CLUSTER, EVERYSEC, REPLICAS, Setup
from scripts.bench.subjects.crowd import connections
from scripts.bench.subjects.groups import GROUPS
from scripts.bench.subjects.growth import GROWTH
from scripts.bench.subjects.http import batches, beside_plain, single
from scripts.bench.subjects.pairs import latency, pairs
from scripts.bench.subjects.replay import idle, long_replay, replay
from scripts.bench.subjects.subject import NO_COPY, ONE, PLAIN, Subject
from scripts.bench.subjects.ws import offline_store, one_worker, sends

# `idle` first: the workers' memory is then still untouched by other loads.
SUBJECTS = (
    Subject("idle", PLAIN, idle, anywhere=True),
    Subject("ws", PLAIN, sends, anywhere=True),
    Subject("pairs", PLAIN, pairs, anywhere=True),
    Subject("latency", PLAIN, latency, anywhere=True),
    Subject("ws-no-copy", NO_COPY, offline_store, "ws"),
    Subject("pairs-no-copy", NO_COPY, pairs, "pairs"),
    Subject("latency-no-copy", NO_COPY, latency, "latency"),
    Subject("replay", NO_COPY, replay, anywhere=True),
    Subject("replay-long", NO_COPY, long_replay),
    *GROUPS,
    *GROWTH,
    Subject("growth-connections", NO_COPY, connections, anywhere=True),
    Subject("http", ONE, single, anywhere=True),
    Subject("batch", ONE, batches, anywhere=True),
    Subject("http-plain", ONE, beside_plain),
    Subject("ws-one-worker", ONE, one_worker, "ws-no-copy"),
    Subject("pairs-one-worker", ONE, pairs, "pairs-no-copy"),
    Subject("pairs-four-workers", Setup(workers=4, own_copy=False), pairs, "pairs-no-copy"),
    *(
        Subject(f"{load}-cluster", Setup(own_copy=False, store=CLUSTER), measure, f"{load}-no-copy")
        for load, measure in (("ws", sends), ("pairs", pairs))
    ),
    # What each durability costs, beside the embedded server (fsynced without waiting).
    *(
        Subject(f"{load}-{name}", Setup(own_copy=False, durability=level, store=store), measure, f"{load}-no-copy")
        for name, level, store in (
            ("appended", "appended", EVERYSEC),
            ("waitaof", "fsynced", EVERYSEC),
            ("replicated-1", "replicated:1", REPLICAS),
            ("replicated-2", "replicated:2", REPLICAS),
        )
        for load, measure in (("ws", sends), ("latency", latency))
    ),
)

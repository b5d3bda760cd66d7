"""From people to machines: rates, cores, memory, bytes, and how near each limit is. Pure."""

import math
from dataclasses import dataclass

from scripts.sizing.assumptions import DAY, Assumptions
from scripts.sizing.costs import Costs, Price

MICRO = 1e-6
ALONE = 0.5
"""Share of one server's core up to which one server will do, and nothing need be spread."""

SEND, ACCEPTED, MESSAGE, ACK, PACKET = 290, 130, 330, 60, 70
"""Bytes between a client and a worker for a body of 200; of a packet's own (IP, TCP, TLS)."""

MAX_CLIENTS = 10_000  # `maxclients` of Redis and Valkey, as they come
TO_EACH_PRIMARY = 6  # connections of a worker: write, read, beat, and some for the rest (at most 32)
MOST_PRIMARIES = 1_000  # beyond, the servers' own gossip is what costs: their own documents' advice
HASH_FIELD = 40  # bytes of a worker in the answer to HGETALL
LINK = 500e6  # bytes/s of a machine's network that may be used
LOOK_SHARE = 0.1  # of a primary's core that looks at its settings may take
PUSH_TABLES, PUSH_NOTE = 16, 6.0  # tables of who is to be pushed to; µs of a server to note somebody down
SWEEP_KEYS, SWEEP_STEP, KEYS_A_USER, SWEEP_PERIOD = 200, 3e-3, 9, 3600  # keys of a step, s of a step, keys, s


@dataclass(frozen=True)
class Rates:
    """In the busiest seconds, each second."""

    connections: float
    connects: float
    sends: float
    single: float  # sends to one user
    members: float  # entries that groups' sends make
    entries: float  # all appends: recipients', own copies, receipts
    relayed: float  # announced to a connection and delivered
    replayed: float  # delivered from the inbox, later


def rates(a: Assumptions) -> Rates:
    connections = a.users * a.online * a.devices
    sends = a.users * a.messages * a.peak / DAY
    single, members = sends * (1 - a.grouped), sends * a.grouped * a.group
    copies = single if a.copy else 0.0  # to a group the sender is a member
    entries = single + members + copies + single * a.receipts  # groups have none
    relayed = entries * a.reached * a.devices
    return Rates(
        *(connections, connections / a.session, sends, single, members, entries, relayed),
        replayed=max(0.0, entries * a.owned - relayed),
    )


@dataclass(frozen=True)
class Size:
    """What it takes. Cores are those that are busy; workers and servers are what is to be run."""

    rates: Rates
    worker_cores: float
    workers: int
    worker_memory: float  # bytes, all workers
    server_cores: float
    servers: int  # primaries
    inboxes: float  # bytes, without replicas
    written: float  # bytes/s into append-only files, all primaries
    clients: float  # bytes/s between clients and workers
    inner: float  # bytes/s between workers and servers, and to replicas
    crossing: float  # of these two, bytes/s from one zone to another
    limits: tuple["Limit", ...]  # the nearest first


@dataclass(frozen=True)
class Limit:
    """`used`: how much of what it bears is taken; from 1 on it breaks."""

    what: str
    used: float
    then: str


def size(a: Assumptions, costs: Costs) -> Size:
    found = rates(a)
    alone = load(found, a, costs, spread=False).server * MICRO <= ALONE and memory(a, costs) <= a.server_memory
    busy = load(found, a, costs, spread=not alone)
    worker_cores, server_cores = busy.worker * MICRO, busy.server * MICRO
    workers = max(2, math.ceil(worker_cores / a.worker_load), math.ceil(found.connections / a.connections))
    needed = memory(a, costs)
    looks = workers * costs.look_us * MICRO  # of a core of each primary, however many there are
    left = max(0.1, a.server_load - looks)
    servers = 1 if alone else max(3, math.ceil(server_cores / left), math.ceil(needed / a.server_memory))
    clients = traffic(found, a)
    written = busy.to_server  # what is written is most of what goes there
    inner = busy.to_server + busy.from_server + written * a.replicas
    apart = 1 - 1 / a.zones
    crossing = (busy.to_server + busy.from_server) * apart + (written * a.replicas if a.zones > 1 else 0.0)
    return Size(
        rates=found,
        worker_cores=worker_cores,
        workers=workers,
        worker_memory=workers * a.worker_memory + found.connections * costs.worker_bytes,
        server_cores=server_cores,
        servers=servers,
        inboxes=needed,
        written=written,
        clients=clients,
        inner=inner,
        crossing=crossing,
        limits=limits(a, costs, found, workers, servers, server_cores),
    )


def load(found: Rates, a: Assumptions, costs: Costs, *, spread: bool) -> Price:
    """µs and bytes each second. `spread` over many servers, hardly two messages share a call."""
    send = costs.calm_send if spread else costs.full_send
    relay = costs.calm_relay if spread else costs.full_relay
    others = found.entries - found.single - found.members  # copies and receipts: appends that nobody waits for
    parts = (
        (send, found.single),
        (costs.member, found.members + others),
        (relay, found.relayed),
        (costs.replay, found.replayed),
        (costs.connect, found.connects),
        (costs.second, found.connections),
    )
    return Price(
        sum(price.worker * count for price, count in parts),
        sum(price.server * count for price, count in parts),
        sum(price.to_server * count for price, count in parts),
        sum(price.from_server * count for price, count in parts),
    )


def memory(a: Assumptions, costs: Costs) -> float:
    """Bytes of all inboxes: what is kept of acked entries, and what stands about a user and a connection."""
    daily = rates(a).entries / a.peak * DAY / a.users
    kept = min(a.history, daily * a.retention)
    return a.users * (costs.inbox_bytes + kept * costs.entry_bytes) + rates(a).connections * costs.server_bytes


def traffic(found: Rates, a: Assumptions) -> float:
    """Bytes/s between clients and workers, of bodies of 200 bytes, each frame in a packet of its own."""
    sent = found.sends * (SEND + ACCEPTED + 2 * PACKET)
    return sent + (found.relayed + found.replayed) * (MESSAGE + ACK + 2 * PACKET)


def limits(
    a: Assumptions, costs: Costs, found: Rates, workers: int, servers: int, server_cores: float
) -> tuple[Limit, ...]:
    looks = workers * costs.look_us * MICRO
    group = costs.group_sends * costs.group_members / a.biggest  # sends/s that one runner of a group gets through
    noted = (found.single + found.members) * PUSH_NOTE * MICRO / PUSH_TABLES
    each = [
        Limit("one server's core", server_cores / servers + looks, "more servers: a Cluster"),
        Limit("one server's memory", memory(a, costs) / servers / a.server_memory, "more servers, less history"),
        Limit(
            "connections of one primary",
            workers * TO_EACH_PRIMARY / MAX_CLIENTS,
            "raise `maxclients`; fewer, larger workers",
        ),
        Limit("heartbeats' looks at one primary", looks / LOOK_SHARE, "a longer INBOXD_HEARTBEAT; cells"),
        Limit(
            "the table of workers, read by each",
            workers**2 * HASH_FIELD / a.heartbeat / LINK,
            "a longer INBOXD_HEARTBEAT; cells",
        ),
        Limit("primaries of one Cluster", servers / MOST_PRIMARIES, "cells"),
        Limit("the busiest group", a.hottest / group, "its sends wait for each other"),
    ]
    if a.push:
        each.append(
            Limit("push tables, of which there are 16", noted / a.server_load, "more tables (a change of the code)")
        )
        steps = a.users * KEYS_A_USER / SWEEP_KEYS * SWEEP_STEP
        each.append(
            Limit("push's sweep, by one worker", steps / SWEEP_PERIOD, "a round takes longer than INBOXD_PUSH_SWEEP")
        )
    return tuple(sorted(each, key=lambda one: -one.used))

"""The tables of docs/scaling.md, each between two comments that name it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from scripts.sizing.assumptions import SIZES, Assumptions
from scripts.sizing.costs import Costs, Price
from scripts.sizing.fit import compared
from scripts.sizing.model import MICRO, Size, size
from scripts.sizing.simulation import FAULTS, Fault, Told, simulated
from scripts.sizing.slices import sliced

PAGE = Path(__file__).parents[2] / "docs/scaling.md"
SECONDS = 40.0
GIGABIT = 125e6
SIMULATED = SIZES[:3]
Row = Sequence[str]

WORDS = {
    "online": "share of users connected in the busiest hour",
    "devices": "connections of a user who is online",
    "owned": "devices of a user, each of which gets everything",
    "messages": "messages a user sends on a day",
    "peak": "the busiest seconds against the day's mean",
    "grouped": "share of sends that go to a group",
    "group": "members of that group, on average over sends",
    "reached": "share of entries whose recipient is connected",
    "receipts": "receipts for each message to one user (`delivered`, `read`)",
    "copy": "`INBOXD_OWN_COPY`",
    "session": "seconds a connection lasts",
    "history": "`INBOXD_HISTORY`",
    "retention": "days of `INBOXD_RETENTION`",
    "hottest": "sends a second of the busiest group",
    "biggest": "its members",
    "push": "push is configured",
    "worker_load": "busy share of a worker's core, at most",
    "server_load": "busy share of a server's core, at most",
    "connections": "`INBOXD_MAX_CONNECTIONS`",
    "worker_memory": "bytes of a worker without connections",
    "server_memory": "bytes of data of one server, at most",
    "replicas": "replicas of each server",
    "zones": "zones",
    "heartbeat": "`INBOXD_HEARTBEAT`, s",
}


def number(value: float) -> str:
    """To be read, not to be calculated with."""
    if isinstance(value, bool):
        return "on" if value else "off"
    for unit, of in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if value >= of:
            return f"{value / (1e3 if unit == 'k' else of):.3g} {unit}"
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def costs_table(found: Mapping[str, Any]) -> str:
    rows = [
        ("a send, its recipient away; many at once", found["sends"]),
        ("the whole path: sent, announced, read, delivered, acked; many at once", found["pairs"]),
        ("the whole path, at 500 messages/s: hardly two at once", found["calm"]),
        ("an entry from the inbox, in pages", found["replay"]),
        ("a member's entry of a send to a group of 100", found["group"]),
        ("to connect: handshake, claim, page, `live`", found["connections"]["connect"]),
        ("to be connected, each second", found["connections"]["idle"]),
        ("a worker that nobody is connected to, each second", found["alone"]),
    ]
    parts = ("worker_us", "worker_kernel_us", "server_us", "server_kernel_us", "to_server", "from_server")
    head = ("what", "worker µs", "of it kernel", "server µs", "of it kernel", "bytes to the server", "from it")
    return table(head, [[what, *(number(one[part]) for part in parts)] for what, one in rows])


def stages_table(found: Mapping[str, Any]) -> str:
    whole = found["pairs"]["worker_us"]
    rows = [[name, f"{share:.0%}", number(share * whole)] for name, share in found["stages"].items()]
    return table(("stage, in the worker", "share of samples", "µs of a message"), rows)


def calls_table(found: Mapping[str, Any]) -> str:
    rows = [
        [f"`{name}`", f"{calls:.3g}", number(us), number(calls * us)]
        for name, (calls, us) in found["pairs"]["calls"].items()
    ]
    return table(("command, also inside scripts", "calls a message", "µs each", "µs a message"), rows)


def carries_table(found: Mapping[str, Any]) -> str:
    costs = Costs.of(found)
    send, calm = costs.full_send, costs.calm

    def each(us: float) -> str:
        return number(1 / (us * MICRO)) if us else "-"

    full = Price.of(found["pairs"])
    rows = [
        ("sends accepted, recipients away", send), ("messages from end to end, many at once", full),
        ("messages from end to end, hardly two at once", calm), ("entries replayed", costs.replay),
        ("entries for members of groups", costs.member), ("devices connecting", costs.connect),
        ("idle connections, by CPU alone", costs.second),
    ]  # fmt: skip
    return table(
        ("each second, at most", "a worker's core", "a server's core", "1 Gbit/s to the server"),
        [
            [what, each(p.worker), each(p.server), number(GIGABIT / p.to_server) if p.to_server else "-"]
            for what, p in rows
        ],
    )


def assumptions_table(sizes: Sequence[Assumptions] = SIZES) -> str:
    names = [field.name for field in fields(Assumptions) if field.name != "users"]
    rows = [[WORDS[name], *(number(getattr(one, name)) for one in sizes)] for name in names]
    return table(("assumed", *(f"{number(one.users)} users" for one in sizes)), rows)


def sizes_table(found: Mapping[str, Any], sizes: Sequence[Assumptions] = SIZES) -> str:
    costs = Costs.of(found)
    all_ = [size(one, costs) for one in sizes]
    rows: list[Row] = [[what, *(number(of(one)) for one in all_)] for what, of in _ROWS]
    return table(("in the busiest seconds", *(f"{number(one.users)} users" for one in sizes)), rows)


_ROWS: tuple[tuple[str, Any], ...] = (
    ("connections", lambda s: s.rates.connections),
    ("devices connecting, each second", lambda s: s.rates.connects),
    ("sends, each second", lambda s: s.rates.sends),
    ("appends to inboxes, each second", lambda s: s.rates.entries),
    ("deliveries at once, each second", lambda s: s.rates.relayed),
    ("deliveries from inboxes, each second", lambda s: s.rates.replayed),
    ("busy cores of workers", lambda s: s.worker_cores),
    ("**workers**", lambda s: s.workers),
    ("memory of all workers, bytes", lambda s: s.worker_memory),
    ("busy cores of servers", lambda s: s.server_cores),
    ("**servers** (primaries; each has its replicas beside it)", lambda s: s.servers),
    ("inboxes, bytes (once more in each replica)", lambda s: s.inboxes),
    ("append-only files, bytes/s", lambda s: s.written),
    ("between clients and workers, bytes/s", lambda s: s.clients),
    ("between workers, servers and replicas, bytes/s", lambda s: s.inner),
    ("of it from zone to zone, bytes/s", lambda s: s.crossing),
)


def limits_table(found: Mapping[str, Any], sizes: Sequence[Assumptions] = SIZES) -> str:
    costs = Costs.of(found)
    all_: list[Size] = [size(one, costs) for one in sizes]
    used = [{limit.what: limit.used for limit in one.limits} for one in all_]
    order = sorted(all_[-1].limits, key=lambda limit: -limit.used)
    rows = [[one.what, *(_share(some.get(one.what, 0.0)) for some in used), one.then] for one in order]
    return table(("how much is taken of", *(f"{number(one.users)} users" for one in sizes), "what then"), rows)


def _share(used: float) -> str:
    text = f"{used:.0%}" if used >= 0.01 else "<1%"
    return f"**{text}**" if used >= 1 else text


def fit_table(found: Mapping[str, Any]) -> str:
    rows = [
        [one.what, one.unit, number(one.measured), number(one.simulated), f"{one.ratio:.2f}"] for one in compared(found)
    ]
    return table(("at the size that fits here", "", "measured", "simulated", "ratio"), rows)


def faults_table(found: Mapping[str, Any], sizes: Sequence[Assumptions] = SIMULATED) -> str:
    return table(FAULT_HEAD, [fault_row(found, one, fault) for one in sizes for fault in FAULTS])


FAULT_HEAD = (
    "what happens", "users", "accepted p50", "p99", "p99 of others", "delivered p99", "all back after",
    "gave up, came again", "longest queue of a worker", "of a server",
)  # fmt: skip
NAMES: dict[Fault, str] = {
    "none": "nothing",
    "burst": "three times the sends",
    "worker": "a worker dies",
    "zone": "a third of the workers dies",
    "shard killed": "a server is killed, its replica takes over after 15 s",
    "shard frozen": "a server is frozen (or cut off) for 15 s",
}


def fault_row(found: Mapping[str, Any], a: Assumptions, fault: Fault) -> Row:
    slice_ = sliced(a, Costs.of(found), all_shards=fault.startswith("shard"))
    told = simulated(slice_, fault, seconds=SECONDS)
    lost = fault.startswith("shard")
    return (
        *(NAMES[fault], number(a.users), span(told.p("accepted", 0.5)), span(told.p("accepted", 0.99))),
        *(span(told.p("others", 0.99)) if lost and told.others else "", span(told.p("delivered", 0.99))),
        *(_back(told, fault), number(told.counts["gave up connecting"])),
        *(span(told.worker_queue), span(told.shard_queue)),
    )


def _back(told: Told, fault: Fault) -> str:
    if fault in {"none", "burst"}:
        return ""
    if told.out:
        return f"{told.out / (told.out + len(told.away)):.0%} not in {SECONDS:.0f} s"
    return span(told.back) if told.back < SECONDS - 1 else f"not in {SECONDS:.0f} s"


def span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """Those that take no time; `faults` and `fit` are simulated."""
    return {
        "costs": costs_table(found),
        "stages": stages_table(found),
        "calls": calls_table(found),
        "carries": carries_table(found),
        "assumptions": assumptions_table(),
        "sizes": sizes_table(found),
        "limits": limits_table(found),
    }


def filled(text: str, name: str, content: str) -> str:
    """The page with this table in its place. ValueError where it has none."""
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not place.search(text):
        raise ValueError(f"no place for {name}")
    return place.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)

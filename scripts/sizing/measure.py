"""`python -m scripts.sizing.measure`: what each stage costs on a service that really runs; writes `measured.json`.

Two workers, tokens on, the embedded server (append-only file, `always`), no sender's copies and no receipts: those are
appends of their own, and the model adds them. CPU seconds, not rates: they depend little on who else is busy.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis

from scripts.bench import machine
from scripts.bench.content import batch, body, message
from scripts.bench.crew import Crew, Load, Outcome, raise_file_limit
from scripts.bench.http_client import HttpConnection, connect, post
from scripts.bench.idle import IdleLoad
from scripts.bench.latency import LatencyLoad
from scripts.bench.pairs import PairsLoad
from scripts.bench.replay import ReplayLoad
from scripts.bench.server import Service, started
from scripts.bench.setups import Setup
from scripts.bench.stats import percentile
from scripts.bench.ws_client import Manners
from scripts.bench.ws_load import WsSends
from scripts.sizing.stages import shares

PLACE = Path(__file__).with_name("measured.json")
SECONDS, WARM = 4.0, 1.0
IDLE, IDLE_SECONDS = 1000, 15.0
MEMBERS, GROUP_SENDS, GROUP_SENDERS = 100, 320, 16
BATCH, DEEP, WIDE = 100, 20, 5000
MANNERS = Manners()
EMPTY = Counter[str]()
MICRO, MILLI = 1e6, 1e3


@dataclass(frozen=True)
class Reading:
    """CPU seconds (user, system), bytes and calls since the beginning, at one moment."""

    at: float
    workers: tuple[float, float]
    server: tuple[float, float]
    memory: int
    resident: int
    received: int
    sent: int
    calls: dict[str, tuple[int, float]]


def cpu(pids: Sequence[int]) -> tuple[float, float]:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(one.user for one in times), sum(one.system for one in times)


class Subject:
    """A service under measurement."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._redis: Any = redis.Redis.from_url(service.redis_urls[0], decode_responses=True)

    def read(self) -> Reading:
        info = self._redis.info("everything")
        calls = {
            name.removeprefix("cmdstat_"): (int(stat["calls"]), float(stat["usec"]))
            for name, stat in info.items()
            if name.startswith("cmdstat_")
        }
        pids = self.service.pids
        return Reading(
            *(time.monotonic(), cpu(pids.workers), cpu(pids.servers), int(info["used_memory_dataset"])),
            resident=sum(psutil.Process(pid).memory_info().rss for pid in pids.workers),
            received=int(info["total_net_input_bytes"]),
            sent=int(info["total_net_output_bytes"]),
            calls=calls,
        )

    def endpoint(self) -> Any:
        return self.service.endpoint


def between(a: Reading, b: Reading, count: float) -> dict[str, Any]:
    """For each of `count`: µs of workers and server, bytes to and from the server, its calls and µs inside them."""
    calls = {
        name: (n - a.calls.get(name, (0, 0))[0], us - a.calls.get(name, (0, 0))[1]) for name, (n, us) in b.calls.items()
    }
    return {
        "count": round(count),
        "worker_us": round(sum(b.workers) / count * MICRO - sum(a.workers) / count * MICRO, 2),
        "worker_kernel_us": round((b.workers[1] - a.workers[1]) / count * MICRO, 2),
        "server_us": round((sum(b.server) - sum(a.server)) / count * MICRO, 2),
        "server_kernel_us": round((b.server[1] - a.server[1]) / count * MICRO, 2),
        "to_server": round((b.received - a.received) / count),
        "from_server": round((b.sent - a.sent) / count),
        "calls": {
            name: [round(n / count, 4), round(us / n, 2)] for name, (n, us) in sorted(calls.items()) if n > count / 1000
        },
    }


def loaded(subject: Subject, load: Load, profiled: Path | None = None) -> tuple[Outcome, dict[str, Any]]:
    """A load process once; what it saw, and what it cost."""
    with Crew([load]) as crew:
        crew.arrived()
        before = subject.read()
        crew.go()
        sampler = profiler(subject, profiled) if profiled is not None else None
        outcomes = crew.finished()
        if sampler is not None:
            sampler.wait()
        time.sleep(0.3)  # what is done behind the last answer belongs to it
        after = subject.read()
    return outcomes[0], between(before, after, outcomes[0].total)


def profiler(subject: Subject, place: Path) -> "subprocess.Popen[bytes] | None":
    """py-spy on one worker, where there is one to be had."""
    found = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if found is None:
        return None
    pid = str(subject.service.pids.workers[0])
    options = ("--rate", "300", "--duration", str(int(SECONDS - 1)), "--format", "raw")
    return subprocess.Popen(
        [found, "record", *options, "--output", str(place), "--pid", pid],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def path(subject: Subject, folder: Path) -> dict[str, Any]:
    """The stages of a message: sends whose recipients are away, then the whole of it."""
    endpoint = subject.endpoint()
    _, sends = loaded(subject, WsSends(endpoint, "size-sends", SECONDS, WARM, MANNERS))
    outcome, pairs = loaded(subject, PairsLoad(endpoint, "size-pairs", SECONDS, WARM, MANNERS))
    pairs |= {
        "rate": round(outcome.done / (outcome.ended - outcome.started)),
        "load_us": round(outcome.cpu / outcome.total * MICRO, 2),
    }
    used = pairs["worker_us"] + pairs["server_us"] + pairs["load_us"]
    pairs |= {"cores_had": round(used * outcome.total / outcome.wall / MICRO, 3)}
    pairs |= {"p50_ms": ms(outcome, 0.5), "p99_ms": ms(outcome, 0.99)}
    raw = folder / "stacks"
    loaded(subject, PairsLoad(endpoint, "size-stages", SECONDS, WARM, MANNERS), raw)
    stages = shares(raw.read_text()) if raw.exists() else {}
    outcome, calm = loaded(subject, LatencyLoad(endpoint, "size-calm", 8.0, WARM, MANNERS, 1))
    calm |= {"p50_ms": ms(outcome, 0.5), "p99_ms": ms(outcome, 0.99), "rate": round(outcome.total / outcome.wall)}
    _, replay = loaded(subject, ReplayLoad(endpoint, "size-replay", 2))
    return {"sends": sends, "pairs": pairs, "stages": stages, "calm": calm, "replay": replay}


def ms(outcome: Outcome, share: float) -> float:
    return round(percentile(outcome.samples, share) * MILLI, 3)


def connections(subject: Subject) -> dict[str, Any]:
    """What it costs to connect, to be connected (audits, pings, heartbeats), and the memory of it."""
    with Crew([IdleLoad(subject.endpoint(), "size-idle", IDLE)]) as crew:
        crew.arrived()
        before = subject.read()
        crew.go()
        crew.arrived()
        time.sleep(1)
        there = subject.read()
        time.sleep(IDLE_SECONDS)
        later = subject.read()
        crew.go()
        crew.finished()
    idle = between(there, later, IDLE * (later.at - there.at))
    return {
        "connect": between(before, there, IDLE),
        "idle": {name: value for name, value in idle.items() if name != "calls"},
        "bytes": {
            "worker": round((there.resident - before.resident) / IDLE),
            "server": round((there.memory - before.memory) / IDLE),
        },
    }


def alone(subject: Subject) -> dict[str, Any]:
    """What a worker costs that nobody is connected to: heartbeats, looks at the servers and at the others."""
    before = subject.read()
    time.sleep(IDLE_SECONDS)
    after = subject.read()
    workers = len(subject.service.pids.workers)
    return between(before, after, workers * (after.at - before.at))


async def asked(connection: HttpConnection, endpoint: Any, user: str, where: str, content: bytes) -> None:
    request = post(endpoint, where, user, content)
    answer = await connection.request(request if where != "/v1/groups/size" else request.replace(b"POST", b"PUT", 1))
    if answer.status // 100 != 2:
        raise RuntimeError(f"{where}: {answer}")


async def group(subject: Subject) -> dict[str, Any]:
    """For each member's entry of what several people send to one group at once; nobody is connected."""
    endpoint = subject.endpoint()
    connections = [await connect(endpoint) for _ in range(GROUP_SENDERS)]
    names = b",".join(b'"size-member-%d"' % n for n in range(MEMBERS - 1))
    await asked(connections[0], endpoint, "size-owner", "/v1/groups/size", b'{"members":[%b]}' % names)

    async def sending(sender: int) -> None:
        for number in range(GROUP_SENDS // GROUP_SENDERS):
            content = b'{"id":"g-%d-%d","group":"size","body":%b}' % (sender, number, body())
            await asked(connections[sender], endpoint, "size-owner", "/v1/messages", content)

    before = await asyncio.to_thread(subject.read)
    await asyncio.gather(*map(sending, range(GROUP_SENDERS)))
    after = await asyncio.to_thread(subject.read)
    for connection in connections:
        connection.close()
    found = between(before, after, GROUP_SENDS * MEMBERS)
    return found | {"sends_per_s": round(GROUP_SENDS / (after.at - before.at), 1), "members": MEMBERS}


async def memory(subject: Subject) -> dict[str, Any]:
    """Bytes of an entry (with the id that is remembered), deep in few inboxes; and of an inbox with one entry."""
    deep = await filled(subject, "size-deep", DEEP, 1000)
    wide = await filled(subject, "size-wide", WIDE, 1)
    return {"entry_bytes": round(deep), "first_entry_bytes": round(wide)}


async def filled(subject: Subject, tag: str, users: int, each: int) -> float:
    endpoint = subject.endpoint()
    connection = await connect(endpoint)
    before = await asyncio.to_thread(subject.read)
    everything = [message(f"{tag}-{n}", f"{tag}-{n % users}") for n in range(users * each)]
    for at in range(0, len(everything), BATCH):
        await asked(connection, endpoint, "size-from", "/v1/messages/batch", batch(everything[at : at + BATCH]))
    after = await asyncio.to_thread(subject.read)
    connection.close()
    return (after.memory - before.memory) / len(everything)


def fsync(folder: Path) -> float:
    """µs of a small write and its fsync, the median of many."""
    took = []
    with (folder / "fsync").open("ab", buffering=0) as file:
        for _ in range(300):
            began = time.perf_counter()
            file.write(b"x" * 512)
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return round(percentile(took, 0.5) * MICRO, 1)


def main() -> None:
    raise_file_limit()
    os.environ["INBOXD_RECEIPTS"] = "off"  # the service that is started inherits it
    with (
        tempfile.TemporaryDirectory(prefix="inboxd-sizing-") as folder,
        started(Setup(workers=2, own_copy=False), None) as service,
    ):
        subject = Subject(service)
        found = {
            "machine": vars(machine.look(None)),
            "server": subject._redis.info("server").get("valkey_version", ""),  # noqa: SLF001 - its own
            "alone": alone(subject),
            "connections": connections(subject),
            **path(subject, Path(folder)),
            "fsync_us": fsync(Path(folder)),
            "group": asyncio.run(group(subject)),
            "memory": asyncio.run(memory(subject)),
        }
    PLACE.write_text(json.dumps(found, indent=1) + "\n")
    print(PLACE.read_text())


if __name__ == "__main__":
    main()

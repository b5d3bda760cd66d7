"""What happens to workers."""

import os
import signal
from typing import Any

from scripts.chaos.client import GIVE_UP_AFTER, Device, Session
from scripts.chaos.crowd import Cast
from scripts.chaos.figures import figures
from scripts.chaos.grounds import PREFIX, Ground
from scripts.chaos.history import Ended
from scripts.chaos.stage import Stage, scenario
from scripts.lab import processes
from scripts.lab.service import Worker
from scripts.lab.timing import PATIENCE, UNIT, eventually

LONGEST_DETOUR = 2.0
"""Seconds a client may wait for its next connection beyond what the service asked it to."""


def whole(stage: Stage[Ground], gone: list[int]) -> None:
    """Waits until as many workers serve as should, none of them with these pids."""
    stage.ground.service.await_ready()
    stage.prove(not set(gone) & {worker.pid for worker in stage.ground.service.workers()}, f"pids {gone} are gone")


@scenario("worker-killed", "a worker is killed (`kill -9`), and again")
def worker_killed(stage: Stage[Ground]) -> None:
    gone = []
    for _ in range(2):
        victim = max(stage.ground.service.workers(), key=lambda worker: worker.connections)
        with stage.fault():
            processes.kill(victim.pid)
        gone.append(victim.pid)
        stage.wait(stage.seconds / 3)
        stage.ground.service.await_ready()
    whole(stage, gone)
    ends = sum(isinstance(end, Ended) and end.code == 1006 for end in stage.history.records)
    stage.prove(ends > 0, f"connections ended without a word ({ends} of them)")


@scenario(
    "events",
    "workers are killed (`kill -9`) under pages that receive server-sent events and ack over HTTP",
    cast=Cast(others=("page",)),
)
def events(stage: Stage[Ground]) -> None:
    gone = []
    for _ in range(3):
        victim = max(stage.ground.service.workers(), key=lambda worker: worker.connections)
        with stage.fault():
            processes.kill(victim.pid)
        gone.append(victim.pid)
        stage.wait(stage.seconds / 4)
        stage.ground.service.await_ready()
    whole(stage, gone)
    cut = sum(end.device == "page" and end.code == 1006 for end in stage.since_fault(Ended))
    stage.prove(cut > 0, f"streams were cut {cut} times")
    relayed = stage.ground.service.metrics()["inboxd_acks_relayed_total"]
    stage.prove(relayed > 0, f"{relayed:.0f} acks reached another worker than the one that held the stream")


@scenario("all-workers-killed", "all workers at once (`kill -9`)")
def all_workers_killed(stage: Stage[Ground]) -> None:
    gone = [worker.pid for worker in stage.ground.service.workers()]
    with stage.fault():
        for pid in gone:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(processes.is_alive(pid) for pid in gone), "all workers are gone")
    whole(stage, gone)


@scenario("rolling-restart", "each worker in turn is told to end (SIGTERM), under load")
def rolling_restart(stage: Stage[Ground]) -> None:
    gone = []
    for worker in stage.ground.service.workers():
        with stage.fault():
            os.kill(worker.pid, signal.SIGTERM)
            eventually(lambda: not processes.is_alive(worker.pid), f"worker {worker.pid} ends")  # noqa: B023
        gone.append(worker.pid)
        stage.ground.service.await_ready()
        stage.wait(stage.seconds / 4)
    restarted(stage, gone)


@scenario("renewal", "the parent is told to make every worker new (SIGHUP), under load")
def renewal(stage: Stage[Ground]) -> None:
    service = stage.ground.service
    gone = [worker.pid for worker in service.workers()]
    with stage.fault():
        os.kill(service.pid, signal.SIGHUP)
        eventually(lambda: not any(processes.is_alive(pid) for pid in gone), "the former workers end", 2 * PATIENCE)
    restarted(stage, gone)


def restarted(stage: Stage[Ground], gone: list[int]) -> None:
    """What must hold when workers ended in order: everybody was told, and nobody waited for long."""
    whole(stage, gone)
    ends = [end.code for end in stage.history.records if isinstance(end, Ended)]
    stage.prove(1012 in ends, f"connections were closed with 1012 ({ends.count(1012)} of them)")
    stage.recover()
    longest = figures(stage.history.records, stage.crowd.steady).reconnected
    stage.prove(longest is not None, "phones were told when to come back")
    stage.expect((longest or 0) <= LONGEST_DETOUR * UNIT, f"no phone waits longer than 2 s more than asked: {longest}")
    stage.expect(1006 not in ends, "no connection ends without a word")


def called_dead(stage: Stage[Ground], worker: Worker) -> None:
    """Waits until the others have called a worker dead."""
    with stage.ground.client() as client:
        eventually(
            lambda: client.hget(f"{PREFIX}workers", worker.name) in {None, "dead"}, f"{worker.name} is called dead"
        )


@scenario("worker-paused", "a worker sleeps (SIGSTOP) longer than the others wait, and wakes up")
def worker_paused(stage: Stage[Ground]) -> None:
    """A hello waits in its buffer while its device connects elsewhere: the successor stays."""
    service = stage.ground.service
    victim, other = stage.rng.sample(service.workers(), 2)
    guest = Device(service.url, "guest", "phone", stage.history, stage.rng)
    with service.only(victim.name):
        early = stage.crowd.run(guest.dial(1))
    with stage.fault():
        processes.pause(victim.pid)
        stage.crowd.run(early.greet())
        late = stage.crowd.run(guest.connect(attempt=2))
        stage.prove(processes.is_stopped(victim.pid), f"worker {victim.pid} is stopped")
        called_dead(stage, victim)
        stage.wait(stage.seconds / 3)
        processes.resume(victim.pid)
    eventually(lambda: renamed(stage, victim), "the worker has a new name")
    stage.prove(True, f"{victim.name} was called dead and has another name now")
    stage.expect(late.worker == other.name, "the successor is at the other worker")
    stage.crowd.run(closed(early))
    stage.expect(early.code in {4509, 4000, 1006}, f"the late hello is let go: {early.code}")
    stage.recover()
    with stage.ground.client() as client:
        row = client.hget(f"{PREFIX}presence:{{guest}}", "phone") or ""
    stage.expect(row.startswith(f"{other.name}/"), f"the successor's claim stands: {row!r}")
    stage.expect(not late.ended, f"the successor stays: closed with {late.code}")
    stage.crowd.run(late.leave(politely=True))


def renamed(stage: Stage[Ground], worker: Worker) -> bool:
    return any(row.pid == worker.pid and row.name != worker.name for row in stage.ground.service.workers())


async def closed(session: Session) -> Any:
    """Waits for the end of a connection, or gives up."""
    waited = 0.0
    while not session.ended and waited < PATIENCE:
        await session.news(GIVE_UP_AFTER)
        waited += GIVE_UP_AFTER
    await session.leave()

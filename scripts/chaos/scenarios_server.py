"""What happens to the one server."""

from typing import Any

from scripts.chaos.grounds import PREFIX, Clocked, Ground
from scripts.chaos.stage import Stage, scenario
from scripts.lab import clock, processes
from scripts.lab.timing import UNIT, eventually


def names(stage: Stage[Any]) -> set[str]:
    stage.ground.service.await_ready()
    return {worker.name for worker in stage.ground.service.workers()}


@scenario("server-killed", "the server is killed (`kill -9`) and comes back with its append-only file, twice")
def server_killed(stage: Stage[Ground]) -> None:
    before, server = names(stage), stage.ground.server
    pids = [server.pid]
    for _ in range(2):
        with stage.fault():
            server.kill()
            stage.wait(1)
            server.start()
        pids.append(server.pid)
        stage.prove(stage.refusals() > 0, f"sends were refused meanwhile ({stage.refusals()})")
        stage.recover()
        stage.wait(stage.seconds / 4)
    stage.prove(len(set(pids)) == 3, f"the server had the pids {pids}")
    stage.expect(names(stage) == before, "no worker is called dead for it")


@scenario("server-stopped", "the server stands still (SIGSTOP) for up to 15 s")
def server_stopped(stage: Stage[Ground]) -> None:
    """Longer than the reaper's patience: nobody is reaped for it."""
    before = names(stage)
    with stage.fault():
        stage.ground.server.pause()
        stage.wait(min(15.0, stage.seconds))
        stage.prove(processes.is_stopped(stage.ground.server.pid), "the server is stopped")
        stage.ground.server.resume()
    stage.prove(stage.refusals() > 0, f"sends were refused meanwhile ({stage.refusals()})")
    stage.recover()
    stage.expect(names(stage) == before, "no worker is called dead for it")


@scenario("server-hiccups", "the server stands still for moments, some longer than the service waits for an answer")
def server_hiccups(stage: Stage[Ground]) -> None:
    before = names(stage)
    with stage.fault():
        for pause in (0.2, 0.7, 2.5, 1.2):
            stage.ground.server.pause()
            stage.wait(pause)
            stage.ground.server.resume()
            stage.wait(stage.rng.uniform(0.2, 1))
    stage.prove(stage.refusals() > 0, f"sends were refused meanwhile ({stage.refusals()})")
    stage.expect(names(stage) == before, "no worker is called dead for it")


@scenario("connections-killed", "`CLIENT KILL` of all connections of the workers, again and again")
def connections_killed(stage: Stage[Ground]) -> None:
    killed = 0
    with stage.ground.client() as client, stage.fault():
        for _ in range(max(3, int(stage.seconds / UNIT))):
            killed += client.client_kill_filter(_type="normal", skipme=True)
            stage.wait(stage.rng.uniform(0.2, 1))
    stage.prove(killed >= 10, f"{killed} connections were killed")


@scenario("server-full", "the server is out of memory, and gets more")
def server_full(stage: Stage[Ground]) -> None:
    with stage.ground.client() as client:
        with stage.fault():
            client.config_set("maxmemory", 1)
            stage.wait(stage.seconds / 2)
            client.config_set("maxmemory", 0)
        errors = client.info("errorstats").get("errorstat_OOM", {"count": 0})
    stage.prove(errors["count"] > 0, f"the server answered OOM ({errors['count']} times)")
    stage.prove(stage.refusals() > 0, f"sends were refused meanwhile ({stage.refusals()})")


@scenario("scripts-flushed", "the server forgets its scripts (`SCRIPT FLUSH`), again and again")
def scripts_flushed(stage: Stage[Ground]) -> None:
    with stage.ground.client() as client:
        with stage.fault():
            for _ in range(max(3, int(stage.seconds / UNIT))):
                client.script_flush()
                stage.wait(stage.rng.uniform(0.1, 1))
        errors = client.info("errorstats").get("errorstat_NOSCRIPT", {"count": 0})
    stage.prove(errors["count"] > 0, f"the server answered NOSCRIPT ({errors['count']} times)")


@scenario("streams-deleted", "the workers' streams are deleted, and trimmed, under them")
def streams_deleted(stage: Stage[Ground]) -> None:
    deleted = trimmed = 0
    with stage.ground.client() as client, stage.fault():
        for _ in range(max(3, int(stage.seconds / UNIT))):
            for name in [worker.name for worker in stage.ground.service.workers()]:
                stream = f"{PREFIX}worker:{{{name}}}"
                if stage.rng.random() < 0.5:
                    deleted += client.delete(stream)
                else:
                    trimmed += client.xtrim(stream, maxlen=0, approximate=False)
            stage.wait(stage.rng.uniform(0.2, 1))
    stage.prove(deleted > 0, f"{deleted} streams were deleted and {trimmed} hints trimmed")


@scenario("presence-deleted", "presence rows are deleted under connected devices")
def presence_deleted(stage: Stage[Ground]) -> None:
    deleted = 0
    with stage.ground.client() as client, stage.fault():
        for _ in range(max(3, int(stage.seconds / UNIT))):
            deleted += sum(client.delete(f"{PREFIX}presence:{{{user}}}") for user in stage.crowd.users)
            stage.wait(stage.rng.uniform(0.5, 1))
        for user in stage.crowd.users:
            key = f"{PREFIX}presence:{{{user}}}"
            eventually(lambda: client.hget(key, "phone"), f"{user}'s phone is claimed again")  # noqa: B023
    stage.prove(deleted >= len(stage.crowd.users), f"{deleted} users' presence was deleted")


HOUR = 3_600_000


@scenario(
    "clock-set-back",
    "the server's clock is set back by an hour, and forth and back again",
    ground=Clocked,
    hindrance=clock.obstacle,
)
def clock_set_back(stage: Stage[Clocked]) -> None:
    server, before = stage.ground.server, names(stage)
    told = server.do("TIME")[0]
    with stage.fault():
        server.set_clock(-HOUR)
        later = server.do("TIME")[0]
        for offset in (HOUR // 60, -HOUR, 0):
            stage.wait(stage.seconds / 4)
            server.set_clock(offset)
    stage.prove(int(later) < int(told) - HOUR // 2000, f"the server's clock went from {told} to {later}")
    stage.expect(names(stage) == before, "no worker is called dead for it")

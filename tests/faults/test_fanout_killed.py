"""`kill -9` of a worker that fans out to 500 members, at each of its steps: all have it once, in one order."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from scripts.lab import processes
from scripts.lab.proxy import RedisProxy
from scripts.lab.redis_server import RedisServer
from scripts.lab.service import Service
from scripts.lab.timing import eventually, eventually_async
from tests.support.api import Api
from tests.support.device import Device

MEMBERS = 500
STEPS = ("the index", "the commit", "append 1", "append 2", "append 3", "append 4", "the end of the record")
"""What a worker writes for one message to so many members."""


class KillAt:
    """A filter that lets so many writes about a group pass; at the next one the worker dies, and it goes nowhere."""

    def __init__(self, group: str, step: int, pid: int) -> None:
        self._group = group.encode()
        self._left = step
        self._pid = pid
        self.killed = False

    def __call__(self, command: bytes) -> bytes:
        if self.killed or self._group not in command or not _writes(command):
            return command
        if self._left:
            self._left -= 1
            return command
        self.killed = True
        os.kill(self._pid, signal.SIGKILL)
        return b""

    async def done(self) -> bool:
        return self.killed


def _writes(command: bytes) -> bool:
    """Hints may go beside any step, and reading changes nothing."""
    return command[:40].upper().split(b"\r\n")[2] in (b"ZADD", b"EVALSHA", b"EVAL")


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProxy]:
    server = RedisServer(tmp_path_factory.mktemp("store"))
    server.start()
    proxy = RedisProxy(server.port)
    proxy.start()
    yield proxy
    proxy.stop()
    server.stop()


@pytest.fixture(scope="module")
def service(link: RedisProxy, serve: Callable[..., Service]) -> Service:
    return serve(redis_url=link.url)


@pytest.mark.parametrize("step", range(len(STEPS)), ids=[name.replace(" ", "-") for name in STEPS])
async def test_a_worker_killed_at_any_step_leaves_every_member_with_one_copy(
    service: Service, link: RedisProxy, named: Callable[[str], str], alice: str, step: int
) -> None:
    group, users = named("team"), [alice, *(named(f"u{n}") for n in range(MEMBERS))]
    doomed, other = service.workers()
    async with Api(service.url, alice) as here, Api(service.url, alice) as there, Device(service.url, users[-1]) as one:
        with service.only(other.name):
            assert (await there.http.put(f"/v1/groups/{group}", json={"members": users[1:]})).status_code == 201
            assert (await there.post({"id": "m-0", "group": group, "body": 0})).status_code == 202
        with service.only(doomed.name):
            assert (await here.http.get(f"/v1/groups/{group}")).status_code == 200
        kill = link.filter = KillAt(group, step, doomed.pid)
        told = await answer(here, {"id": "m-1", "group": group, "body": 1})
        await eventually_async(kill.done, "the step was reached")
        link.filter = bytes
        eventually(lambda: not processes.is_alive(doomed.pid), "the worker is dead")
        if step > STEPS.index("the commit"):  # what is committed is owed, whether its sender comes again or not
            await eventually_async(lambda: ended(service, group), "somebody has finished it")
            assert {tuple(rows) for rows in inboxes(service, users, group)} == {("1 created", "2 m-0", "3 m-1")}
        again = await answer(there, {"id": "m-1", "group": group, "body": 1})
        assert again is not None
        assert (again["seq"], again["duplicate"]) == (3, step > STEPS.index("the commit"))
        assert told is None or told["seq"] == 3
        after = await answer(there, {"id": "m-2", "group": group, "body": 2})
        assert after is not None
        want = ("1 created", "2 m-0", "3 m-1", "4 m-2")
        assert {tuple(rows) for rows in inboxes(service, users, group)} == {want}
        await reached(one, service, 3)
    await asyncio.to_thread(service.await_ready)


async def answer(api: Api, message: dict[str, Any]) -> dict[str, Any] | None:
    """None: there was none, because the worker died."""
    try:
        response = await api.post(message)
    except httpx2.TransportError:
        return None
    assert response.status_code in {200, 202}, response.text
    return dict(response.json())


async def ended(service: Service, group: str) -> bool:
    with service.store() as store:
        return not store.exists(f"chat:group:{{{group}}}:fanout")


def inboxes(service: Service, users: list[str], group: str) -> list[list[str]]:
    with service.store() as store:
        pipe = store.pipeline(transaction=False)
        for user in users:
            pipe.xrange(f"chat:inbox:{{{user}}}")
        rows = pipe.execute()
    return [[f"{f['seq']} {f.get('event') or f['id']}" for _, f in inbox if f.get("group") == group] for inbox in rows]


async def reached(device: Device, service: Service, count: int) -> None:
    """A member that was online all the while has each message once, unless its worker was the one that died."""
    if not device.wire.is_open:
        await device.connect()
    received = await device.receive(count)
    assert [frame["body"] for frame in received] == list(range(count))

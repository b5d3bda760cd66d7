"""Push outlives whoever was at it: a worker killed between the try and its note, a service that was down meanwhile."""

import base64
import json
from collections.abc import AsyncIterator, Callable

import pytest

from scripts.lab import processes
from scripts.lab.service import Service
from scripts.lab.timing import duration, eventually_async
from service.core.push import partition_of
from tests.support.api import Api
from tests.support.receiver import Receiver, Request

SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service], receiver: Receiver) -> Service:
    return serve(
        push_url=receiver.url,
        push_secret=SECRET,
        push_private="on",
        push_after=duration(0.1),
        push_interval=duration(0.1),
        push_timeout=duration(1),
        push_backoff=duration(0.1),
        push_backoff_most=duration(1),
        redis_timeout=duration(0.5),
        reader_block=duration(0.2),
    )


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(service.url, alice) as api:
        yield api


def of(receiver: Receiver, user: str) -> list[Request]:
    """What it was told about a user."""
    return [request for request in receiver.requests if json.loads(request.body)["data"]["user"] == user]


def pushed(service: Service, user: str) -> str | None:
    """Where the service knows that a user was told."""
    with service.store() as store:
        told: str | None = store.hget(f"chat:state:{{{user}}}", "pushed")
        return told


async def test_a_worker_killed_between_the_try_and_its_note_leaves_it_to_be_done_again_under_the_same_id(
    service: Service, api: Api, receiver: Receiver, bob: str
) -> None:
    receiver.hold.clear()
    await api.send(bob, "hi", "m1")
    await receiver.come(1)
    before = service.worker_pids()
    for pid in before:  # whichever of them is at it
        processes.kill(pid)
    receiver.hold.set()  # the receiver has it, and nobody hears of that

    async def told() -> bool:
        return pushed(service, bob) is not None

    await eventually_async(told, "the service knows that bob was told")
    requests = of(receiver, bob)
    assert len(requests) > 1
    assert len({request.id for request in requests}) == 1, "a receiver can see that it is the same"
    assert not set(before) & set(service.worker_pids())


async def test_a_receiver_that_is_down_over_a_restart_of_the_service_is_told_later(
    service: Service, api: Api, receiver: Receiver, bob: str
) -> None:
    await receiver.stop()
    await api.send(bob, "hi", "m1")

    def failed() -> str | None:
        with service.store() as store:
            row: str | None = store.hget(f"chat:push:{{{partition_of(bob)}}}:tries", bob)
            return row

    async def noted() -> str | None:
        return failed()

    row = await eventually_async(noted, "a try has failed")
    assert row.split()[1] == "ConnectError"
    service.restart()
    assert failed() is not None
    await receiver.start()

    async def told() -> bool:
        return pushed(service, bob) is not None and failed() is None

    await eventually_async(told, "nothing is left to be told")
    assert len(of(receiver, bob)) == 1

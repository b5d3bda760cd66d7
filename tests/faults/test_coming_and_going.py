"""A client that connects and disconnects at random, while both workers take a continuous stream for it."""

import asyncio
import random
import time
from collections.abc import Callable

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api
from tests.support.cursors import Cursor
from tests.support.device import Device
from tests.support.history import History
from tests.support.traffic import Sender, running

SECONDS = 20
"""Of the live run; not scaled, because it is what is asked for."""


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


class Wanderer:
    """Plays a device that is online for moments; acks all, some or nothing; leaves politely or not."""

    def __init__(self, device: Device, api: Api) -> None:
        self.device, self.api = device, api
        self.workers: set[str] = set()
        self.explicit = self.confirmed = self.aborted = 0

    async def visit(self) -> None:
        device = self.device
        cursor = None
        if random.random() < 0.4 and device.acked.seq:
            cursor = str(device.acked)
            self.explicit += 1
        device.acking = random.random() < 0.5
        welcome = await device.connect(cursor=cursor, window=random.choice((1, 3, 40, 256, 1024)))
        self.workers.add(welcome["worker"])
        await asyncio.sleep(random.choice((0, 0.01, 0.1, 0.5)))
        if device.entries and not device.acking and random.random() < 0.7:
            await device.ack(random.choice(device.entries)["cursor"])
            if random.random() < 0.3:
                await self.confirm()
        if random.random() < 0.5:
            self.aborted += 1
            await device.abort()
        else:
            await device.close()

    async def confirm(self) -> None:
        """Waits until the service has stored the last ack: from now on nothing before it may come again."""

        async def stored() -> bool:
            found = await self.api.stored(self.device.user, self.device.name)
            return found is not None and Cursor.parse(found) >= self.device.acked

        await eventually_async(stored, "the ack is stored")
        self.device.confirmed = max(self.device.confirmed, self.device.acked)
        self.confirmed += 1


async def test_it_sees_every_message_in_order_and_repeats_only_of_what_it_had_not_acked(
    service: Service, history: History, bob: str, named: Callable[[str], str]
) -> None:
    first, second = service.workers()
    sockets = []
    for worker in (first, second):
        sender = Sender(named(f"s-{worker.name}"), history, 0.01)
        device = Device(service.url, sender.user, "sender")
        device.acking = True
        with service.only(worker.name):
            assert (await device.connect())["worker"] == worker.name
        sockets.append((sender, device))
    over_http = [Sender(named(f"h{number}"), history, 0.01) for number in range(2)]

    phone = Device(service.url, bob, "phone", history)
    stop = asyncio.Event()
    async with (
        Api(service.url, "operator") as api,
        running(
            *(sender.over_socket(device, [bob], stop) for sender, device in sockets),
            *(sender.over_http(service.url, [bob], stop) for sender in over_http),
        ) as sending,
    ):
        wanderer = Wanderer(phone, api)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            await wanderer.visit()
            sending.check()
        stop.set()
        await sending.done()
        phone.acking = True
        await phone.connect()
        await phone.wire.until(lambda: history.missing((bob, "phone")) == 0, "every message")
        await phone.close()

    senders = [*over_http, *(sender for sender, _ in sockets)]
    assert history.violations((bob, "phone")) == []
    # That it took place: messages from everywhere, many visits to both workers, repeats, all ways to come and go.
    assert all(sender.seen["accepted"] > 100 for sender in senders), [sender.seen for sender in senders]
    assert all(not sender.seen["broken"] for sender in senders)
    assert phone.connections > 40
    assert wanderer.workers == {first.name, second.name}
    assert history.repeats((bob, "phone")) > 0
    assert min(wanderer.explicit, wanderer.confirmed, wanderer.aborted) > 0

"""What is kept for a while: ids of the dedupe window, a silent device's say in what is kept."""

import asyncio
import time
from collections.abc import Callable

from scripts.lab.service import Service
from scripts.lab.timing import POLL, UNIT, duration, eventually_async
from tests.support.api import Api
from tests.support.device import Device


async def test_an_id_is_known_for_a_whole_window_and_free_after_two(
    serve: Callable[..., Service], alice: str, bob: str
) -> None:
    window = 1.5 * UNIT
    service = serve(dedupe_window=duration(1.5), workers=1)
    async with Api(service.url, alice) as api:
        sent: list[tuple[float, str, str]] = []  # when (at the latest), id, cursor
        begin = time.monotonic()
        while time.monotonic() < begin + 3 * window:
            message_id = f"m-{len(sent)}"
            answer = await api.send(bob, 1, message_id)
            sent.append((time.monotonic(), message_id, answer["recipients"][0]["cursor"]))
            young = [one for one in sent if time.monotonic() < one[0] + 0.8 * window]
            for _, known, cursor in (young[0], young[len(young) // 2]):
                again = await api.send(bob, 1, known)
                assert (again["duplicate"], again["recipients"][0]["cursor"]) == (True, cursor)
            await asyncio.sleep(POLL)
        assert len(sent) > 10

        async def free() -> bool:
            return not (await api.send(bob, 1, "m-0"))["duplicate"]

        await eventually_async(free, "the oldest id is free again")


async def test_a_device_silent_for_too_long_no_longer_holds_entries_back(
    serve: Callable[..., Service], alice: str, bob: str
) -> None:
    service = serve(device_expiry=duration(1), history=10, workers=1)
    silent = Device(service.url, bob, "silent")
    await silent.connect()
    await silent.close()
    async with Api(service.url, alice) as api, Device(service.url, bob, "quick") as quick:
        quick.acking = True
        number = 0

        async def trimmed() -> bool:
            nonlocal number
            number += 1
            cursors = await api.fill(bob, 50, prefix=f"p{number}-")
            await quick.receive(number * 50)
            await quick.ack(cursors[-1])
            return bool((await api.inbox(bob))["length"] < number * 50)

        await eventually_async(trimmed, "what only the silent device had not acked is trimmed")
        last = (await api.inbox(bob))["last"]
    silent.acking = True
    await silent.connect()
    await silent.go_live()
    assert (silent.entries[0]["type"], silent.entries[0]["reason"]) == ("gap", "trimmed")
    assert silent.entries[-1]["cursor"] == last
    await silent.close()

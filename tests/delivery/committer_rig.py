"""A committer that runs, of which a test sees every call."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.core.lane import Lane
from service.core.sending import Appended, Message
from service.delivery.committer import Committer
from service.store.appends import Appends
from service.store.client import Clients
from service.store.keys import Keys
from service.store.limits import Limits
from tests.delivery.rig import (
    Answer,
    RecordedAppends,
    Trouble,
    a_message,
    ended,
    quick,
    submit,
    troubled,
    until,
    within,
)


@dataclass
class Bench:
    """A running committer. `calls`: the message ids of each script call; `told`: what was announced."""

    committer: Committer
    appends: RecordedAppends
    trouble: Trouble
    told: list[str] = field(default_factory=list)
    held: "asyncio.Future[Answer]" = field(init=False)

    @property
    def calls(self) -> list[list[str]]:
        return self.appends.asked

    def submit(self, *messages: Message, lane: Lane | None = None) -> "list[asyncio.Future[Answer]]":
        return [submit(self.committer, message, lane) for message in messages]

    async def hold(self, lane: Lane | None = None) -> None:
        """A first message, `first`, is in flight and stays there until `release`; its answer will be `held`."""
        self.trouble.gate.clear()
        self.held = submit(self.committer, a_message("first", "zoe"), lane)
        await until(lambda: self.trouble.calls == 1, "the first call")

    def release(self) -> None:
        self.trouble.gate.set()


async def running_bench(url: str, own_copy: bool = False, **limits: Any) -> AsyncIterator[Bench]:
    settings = quick(url, **limits)
    clients = Clients(settings)
    bounds = Limits(settings.max_pending, settings.history, settings.retention, settings.device_expiry, 60.0)
    appends = RecordedAppends.of(Appends(clients, Keys(settings.prefix), bounds))
    told: list[str] = []

    def announce(message: Message, _users: Sequence[str], _results: Sequence[Appended]) -> None:
        told.append(message.id)

    committer = Committer(appends, announce, lambda _: None, own_copy)
    trouble = troubled(appends, "append")
    task = asyncio.create_task(committer.run())
    yield Bench(committer, appends, trouble, told)
    died = task.done()
    result = await ended(task)
    await clients.aclose()
    assert not died, f"the committer has died: {result}"


async def all_of(answers: "list[asyncio.Future[Answer]]") -> list[Answer]:
    return await within(asyncio.gather(*answers), "every answer")


async def entries(store: Any, user: str = "bob") -> list[str]:
    """Ids of the messages in an inbox."""
    return [fields["id"] for _, fields in await store.xrange(f"chat:inbox:{{{user}}}")]

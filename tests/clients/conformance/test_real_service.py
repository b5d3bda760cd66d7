"""Against the real service, two workers: a chat both ways while workers and clients are killed."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from scripts.lab import processes
from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, eventually_async
from tests.clients.conformance.client import Client
from tests.clients.conformance.driver import KINDS
from tests.clients.conformance.judgement import violations
from tests.clients.scripted.inboxes import LOGGED, identity

PATIENT = {"ping-interval": None, "patience": None, "try-timeout": None, "backoff-first": 0.05, "backoff-most": 0.3}
"""Options: the service's own intervals, and tries that come soon."""


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve(workers=2)


class Person(Client):
    """A client of the real service; what its inbox holds is asked from the service itself."""

    def __init__(self, service: Service, kind: str, folder: Path, user: str, **options: Any) -> None:
        super().__init__(kind, folder, service.url, user, **{**PATIENT, **options})
        self.http = httpx2.Client(
            base_url=service.url, headers={"X-Inboxd-User": user}, timeout=PATIENCE, trust_env=False
        )

    def held(self) -> list[dict[str, Any]]:
        """Everything in the inbox, own copies included."""
        found: list[dict[str, Any]] = []
        after = "0-0"
        while True:
            answer = self.http.get("/v1/inbox", params={"device": "judge", "after": after, "limit": 1000})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            if not page["entries"]:
                return found
            found += page["entries"]
            after = page["cursor"]

    async def close(self) -> None:
        await super().close()
        self.http.close()


class Conversation:
    """Two who send to each other."""

    def __init__(self, service: Service, *people: Person) -> None:
        self.service, self.people = service, people

    async def talk(self, count: int) -> None:
        for _ in range(count):
            for one, other in itertools.permutations(self.people):
                await one.send(1, to=other.user)

    async def worker_is_killed(self) -> None:
        """The one with the most connections; another takes its place."""
        victim = max(self.service.workers(), key=lambda worker: worker.connections)
        await asyncio.to_thread(processes.kill, victim.pid)

    async def all_workers_are_killed(self) -> None:
        """Whichever holds whom."""
        for victim in self.service.workers():
            await asyncio.to_thread(processes.kill, victim.pid)

    async def killed(self, one: Person) -> None:
        """Its process dies anywhere in what it does, and another one goes on."""
        other = next(other for other in self.people if other is not one)
        one.driver.kill()
        await one.restart_after_a_kill_anywhere(lambda: {frame["id"] for frame in other.held() if "id" in frame})
        await one.do("connect")

    async def settled(self) -> None:
        for one in self.people:
            await one.live()
            await one.until(lambda one=one: not one.unended(), "every send has ended")  # type: ignore[misc]
        for one, other in itertools.permutations(self.people):
            newest = [frame["id"] for frame in other.held() if frame.get("from") == one.user][-1]

            async def is_told(one: Person = one, newest: str = newest) -> bool:
                return f"delivered:{newest}" in [frame.get("id") for frame in one.held()]

            await eventually_async(is_told, f"{one.kind}: a receipt for its newest, after which none comes")
        for one in self.people:

            async def all_is_handled(one: Person = one) -> bool:
                return {identity(frame) for frame in one.held() if frame["type"] in LOGGED} <= one.handled()

            await eventually_async(all_is_handled, f"{one.kind}: all is handled")

    def verdict(self) -> list[str]:
        found = []
        for one, other in itertools.permutations(self.people):
            one.run.log = one.home.log()
            one.run.inbox = [one.held()]
            one.run.outcomes = one.outcomes()
            one.run.inboxes = {other.user: other.held()}
            found += [f"{one.kind}: {wrong}" for wrong in violations(one.run)]
        return found


@pytest.fixture(params=((*KINDS, False), (*KINDS[::-1], True)), ids=("log files", "the Python log in a transaction"))
async def conversation(
    request: pytest.FixtureRequest, service: Service, tmp_path: Path, alice: str, bob: str
) -> AsyncIterator[Conversation]:
    first, second, transactional = request.param
    async with AsyncExitStack() as stack:
        people = []
        for kind, user in ((first, alice), (second, bob)):
            folder = tmp_path / kind
            folder.mkdir()
            person = Person(service, kind, folder, user, transactional=transactional and kind == "python")
            stack.push_async_callback(person.close)
            await person.start()
            await person.live()
            people.append(person)
        yield Conversation(service, *people)


async def test_a_chat_survives_dying_workers_and_dying_clients(conversation: Conversation) -> None:
    one, other = conversation.people
    await conversation.talk(20)
    await conversation.worker_is_killed()
    await conversation.talk(20)
    await conversation.settled()
    for victim in (one, other):
        await conversation.talk(15)
        await conversation.killed(victim)
        await conversation.talk(5)
    await conversation.worker_is_killed()
    await conversation.killed(one)
    await conversation.talk(20)
    await conversation.all_workers_are_killed()
    await conversation.talk(20)
    await conversation.settled()
    wrong = conversation.verdict()
    assert not wrong, "\n".join([*wrong, one.driver.tail(), other.driver.tail()])
    for person in conversation.people:
        lost = [event for driver in person.drivers for event in driver.of("state") if event["state"] == "reconnecting"]
        assert lost, f"{person.kind} has not felt a worker die"
    assert sum(len(person.home.log()) for person in conversation.people) > 300, "own copies and the other's messages"
    await asyncio.to_thread(conversation.service.await_ready)

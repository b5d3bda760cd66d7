"""One client, one scripted server, and the verdict on both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.clients.conformance.client import DEVICE, Client
from tests.clients.conformance.judgement import violations
from tests.clients.scripted.inboxes import Inbox, identity
from tests.clients.scripted.rules import Identity
from tests.clients.scripted.script import Fault
from tests.clients.scripted.server import ScriptedServer
from tests.support.cursors import Cursor

T = TypeVar("T")

USER = "bob"


class Stage(Client):
    """`run` grows over all scenarios; `settled` judges all of it."""

    def __init__(self, server: ScriptedServer, kind: str, folder: Path, **options: Any) -> None:
        super().__init__(kind, folder, server.url, USER, **options)
        self.server = server
        self.spoiled = True  # until a scenario has settled
        self.installation = server.installation(USER, DEVICE)
        self.installation.handled = self.handled

    @property
    def inbox(self) -> Inbox:
        return self.server.inboxes.of(USER)

    def changed(self) -> None:
        self.server.changed()

    async def until(self, probe: Callable[[], T | None], what: str) -> T:
        """Fails as soon as the client is caught at fault."""

        def judged() -> T | None:
            assert not self.server.breaches, self.server.tail()
            return probe()

        try:
            return await self.server.until(judged, what)
        except AssertionError as fault:
            raise AssertionError(f"{self.kind}: {fault}\n{self.driver.tail() if self.drivers else ''}") from None

    async def do(self, what: str, **fields: Any) -> None:
        if what == "connect":
            self.installation.asked_to_connect()
        await super().do(what, **fields)

    async def restarted(self) -> list[str]:
        """After a kill at a moment that nobody chose."""
        return await self.restart_after_a_kill_anywhere(self.arrived)

    def arrived(self) -> set[str]:
        return {frame["id"] for frames in self.inboxes().values() for frame in frames}

    def inboxes(self) -> dict[str, list[dict[str, Any]]]:
        """What everybody has who was sent something."""
        places = {to for command in self.run.commands for to in command.places}
        return {to: self.server.inboxes.held(to) for to in places}

    # What happens

    def play(self, *faults: Fault) -> None:
        self.server.play(*faults)

    def deliver(self, count: int = 1, **more: Any) -> list[Cursor]:
        """So many messages from alice."""
        frames = [{"id": f"in{next(self.numbers)}", "from": "alice", "body": {"n": n}, **more} for n in range(count)]
        return self.server.deliver(USER, *frames)

    async def trickle(self, count: int) -> None:
        """As `deliver`, each when the one before it is handled."""
        for _ in range(count):
            self.deliver()
            await self.until(lambda: not self.unhandled(), "the message is handled")

    def unhandled(self) -> list[Identity]:
        handled = self.handled()
        return [
            identity(entry.frame)
            for entry in self.inbox.entries
            if entry.is_logged and entry.gone is None and identity(entry.frame) not in handled
        ]

    # The verdict

    async def settled(self) -> None:
        """Waits until all is handled, acked and answered and the script is played; then judges everything so far."""
        await self.live()
        await self.until(lambda: not self.unended(), "every send has ended")
        await self.until(lambda: not self.unhandled(), "all is handled")  # what it sent to a group comes back
        await self.until(lambda: self.inbox.stored(DEVICE) >= self.inbox.last, "the newest ack has come")
        await self.live()
        assert not self.server.script.left, f"faults that never happened: {self.server.script.left}"
        wrong = self.verdict()
        assert not wrong, "\n".join([self.kind, *wrong, self.server.tail(40), self.driver.tail()])
        self.spoiled = False

    def verdict(self) -> list[str]:
        generations = [*self.inbox.generations, self.inbox.entries]
        self.run.log = self.home.log()
        self.run.inbox = [[{**entry.frame, "was": entry.was or entry.frame} for entry in held] for held in generations]
        self.run.gone |= {identity(entry.frame) for held in generations for entry in held if entry.gone}
        self.run.outcomes = self.outcomes()
        self.run.inboxes = self.inboxes()
        return [*self.server.breaches, *violations(self.run)]

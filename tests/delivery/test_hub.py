"""The hub: finds the subscribers of a user, and keeps them out of each other's trouble."""

import asyncio

from service.core.cursor import START, Cursor
from service.delivery.hub import Hub
from service.store.presence import Claim
from service.store.worker_stream import Hint
from tests.delivery.rig import ticks


class Sub:
    """A subscriber that notes what it is told."""

    def __init__(self, user: str, device: str = "phone", session: str = "s-1") -> None:
        self.claim = Claim(user, device, "w-1", session)
        self.cursor: Cursor | None = START
        self.hints: list[Cursor] = []
        self.audits: list[tuple[Cursor, Cursor]] = []
        self.settled = 0
        self.ends: list[int] = []
        self.reclaims = 0
        self.stuck = False
        self.acked: list[Cursor] = []

    def on_hint(self, prev: Cursor, cursor: Cursor, tail: bytes | None) -> None:
        self.hints.append(cursor)

    def on_audit(self, last: Cursor, before: Cursor) -> None:
        self.audits.append((last, before))

    def settle(self) -> None:
        self.settled += 1

    def on_acked(self, cursor: Cursor) -> None:
        self.acked.append(cursor)

    def on_stored(self, cursor: Cursor) -> None:
        self.acked.append(cursor)

    def end(self, code: int, reason: str) -> None:
        self.ends.append(code)

    async def reclaim(self) -> None:
        self.reclaims += 1


class Failing(Sub):
    def on_hint(self, prev: Cursor, cursor: Cursor, tail: bytes | None) -> None:
        raise RuntimeError("as the test wants it")


def hint(user: str, seq: int = 1) -> Hint:
    return Hint(user, Cursor(seq - 1, seq - 1), Cursor(seq, seq), b"{}")


def test_a_hint_reaches_every_session_of_its_user_and_nobody_else() -> None:
    hub = Hub()
    phone, laptop, carol = Sub("bob"), Sub("bob", "laptop", "s-2"), Sub("carol", session="s-3")
    for sub in (phone, laptop, carol):
        hub.add(sub)
    hub.on_hint(hint("bob"))
    hub.on_hint(hint("nobody"))
    assert [len(sub.hints) for sub in (phone, laptop, carol)] == [1, 1, 0]


def test_it_counts_sessions_and_forgets_users_without_any() -> None:
    hub = Hub()
    phone, laptop = Sub("bob"), Sub("bob", "laptop", "s-2")
    for sub in (phone, laptop, phone):
        hub.add(sub)
    assert (len(hub), hub.users(), hub.sessions("bob")) == (2, ["bob"], {"s-1", "s-2"})
    hub.remove(phone)
    hub.remove(phone)
    assert (len(hub), hub.users(), hub.of("bob")) == (1, ["bob"], [laptop])
    hub.remove(laptop)
    assert (len(hub), hub.users(), list(hub.all())) == (0, [], [])


def test_a_session_that_fails_is_ended_and_the_others_hear_the_hint() -> None:
    hub = Hub()
    failing, fine = Failing("bob"), Sub("bob", "laptop", "s-2")
    hub.add(failing)
    hub.add(fine)
    hub.on_hint(hint("bob"))
    assert failing.ends == [1011]
    assert len(fine.hints) == 1
    assert fine.ends == []


def test_ending_matches_device_and_session() -> None:
    hub = Hub()
    subs = [Sub("bob", "phone", "s-1"), Sub("bob", "phone", "s-2"), Sub("bob", "laptop", "s-3")]
    subs.append(Sub("carol", "phone", "s-4"))
    for sub in subs:
        hub.add(sub)
    assert hub.end("bob", "phone", "s-2", 4509, "replaced") == 1
    assert [sub.ends for sub in subs] == [[], [4509], [], []]
    assert hub.end("bob", "phone", None, 4510, "removed") == 2
    assert hub.end("bob", None, None, 4510, "removed") == 3
    assert hub.end("bob", "phone", "s-9", 4509, "replaced") == 0
    assert subs[3].ends == []


def test_whoever_leaves_while_all_are_told_does_not_disturb() -> None:
    hub = Hub()

    class Leaving(Sub):
        def on_hint(self, prev: Cursor, cursor: Cursor, tail: bytes | None) -> None:
            super().on_hint(prev, cursor, tail)
            hub.remove(self)

    subs = [Leaving("bob", session=f"s-{n}") for n in range(3)]
    for sub in subs:
        hub.add(sub)
    hub.on_hint(hint("bob"))
    assert [len(sub.hints) for sub in subs] == [1, 1, 1]
    assert len(hub) == 0


def test_those_behind_are_taken_once_and_not_after_they_left() -> None:
    hub = Hub()
    stays, leaves = Sub("bob"), Sub("carol", session="s-2")
    for sub in (stays, leaves):
        hub.add(sub)
        hub.behind.add(sub)
    hub.remove(leaves)
    assert hub.take_behind() == {stays}
    assert hub.take_behind() == set()


async def test_it_says_when_it_is_empty() -> None:
    hub = Hub()
    await hub.emptied()
    first, second = Sub("bob"), Sub("carol", session="s-2")
    hub.add(first)
    hub.add(second)
    empty = asyncio.ensure_future(hub.emptied())
    hub.remove(first)
    await ticks()
    assert not empty.done()
    hub.remove(second)
    await asyncio.wait_for(empty, 1)

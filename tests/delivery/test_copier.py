"""The copier: where the sender's inbox may lie elsewhere, its own copy follows the acceptance."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from service.core.errors import Unavailable
from service.core.sending import Appended, AppendStatus, Message
from service.delivery import copier as module
from service.delivery.copier import Copier
from service.store.appends import Appends, Attempt
from service.telemetry import OWN_COPIES_DROPPED
from tests.delivery.rig import a_message, ended, total, until, within

IN = Appended(AppendStatus.APPENDED)


class Elsewhere(Appends):
    """A server that is away when the test says so."""

    def __init__(self) -> None:
        self.away = False
        self.refused: set[str] = set()
        self.copied: list[str] = []
        self.calls = 0

    async def copy(self, messages: Sequence[Message]) -> list[Attempt]:
        self.calls += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("as the test wants it")
        attempts: list[Attempt] = []
        for message in messages:
            if message.id in self.refused:
                attempts.append(Unavailable("one node is away"))
                continue
            self.copied.append(message.id)
            attempts.append([IN])
        return attempts


@dataclass
class Bench:
    appends: Elsewhere
    told: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.copier = Copier(self.appends, self.announce)

    def announce(self, message: Message, users: Sequence[str], _results: Sequence[Appended]) -> None:
        self.told.append((message.id, tuple(users)))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench(Elsewhere())
    task = asyncio.create_task(bench.copier.run())
    yield bench
    assert not task.done()
    await ended(task)


async def test_copies_are_made_in_order_and_announced_to_the_sender(bench: Bench) -> None:
    for number in range(100):
        bench.copier.add(a_message(f"m{number}"))
    await within(bench.copier.drained(), "all copies")
    assert bench.appends.copied == [f"m{number}" for number in range(100)]
    assert bench.told[0] == ("m0", ("alice",))
    assert len(bench.told) == 100


async def test_while_the_server_is_away_copies_wait_in_order(bench: Bench) -> None:
    bench.appends.away = True
    for number in range(3):
        bench.copier.add(a_message(f"m{number}"))
    await until(lambda: bench.appends.calls >= 2, "it tries again")
    assert bench.told == []
    bench.appends.away = False
    await within(bench.copier.drained(), "all copies")
    assert bench.appends.copied == ["m0", "m1", "m2"]


async def test_what_one_node_does_not_take_is_tried_again_alone(bench: Bench) -> None:
    bench.appends.refused = {"m1"}
    for number in range(3):
        bench.copier.add(a_message(f"m{number}"))
    await until(lambda: bench.appends.calls >= 2, "it tries again")
    assert bench.appends.copied == ["m0", "m2"]
    bench.appends.refused = set()
    await within(bench.copier.drained(), "all copies")
    assert bench.appends.copied == ["m0", "m2", "m1"]


async def test_copies_that_fail_hold_up_no_other_senders_and_keep_their_order(bench: Bench) -> None:
    stuck = [f"m{number}" for number in range(2 * module.BATCH)]
    bench.appends.refused = {*stuck}
    for id in stuck:
        bench.copier.add(a_message(id))
    bench.copier.add(a_message("other", sender="carol"))
    await until(lambda: "other" in bench.appends.copied, "the copy of somebody else")
    assert bench.appends.copied == ["other"]
    bench.appends.refused = set()
    await within(bench.copier.drained(), "all copies")
    assert bench.appends.copied == ["other", *stuck]


async def test_beyond_a_bound_of_bytes_copies_are_left_out_and_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING_BYTES", 2 * len(a_message("m0").body))
    before = total(OWN_COPIES_DROPPED)
    for number in range(3):
        bench.copier.add(a_message(f"m{number}"))
    await within(bench.copier.drained(), "the first two")
    bench.copier.add(a_message("m3"))
    await within(bench.copier.drained(), "one more, since there is room again")
    assert bench.appends.copied == ["m0", "m1", "m3"]
    assert total(OWN_COPIES_DROPPED) == before + 1


async def test_beyond_the_bound_copies_are_left_out_and_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    before = total(OWN_COPIES_DROPPED)
    for number in range(5):
        bench.copier.add(a_message(f"m{number}"))
    await within(bench.copier.drained(), "the first two")
    assert bench.appends.copied == ["m0", "m1"]
    assert total(OWN_COPIES_DROPPED) == before + 3

"""The receipter: whoever has acked, the senders hear of it, through every failure of the store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.core.cursor import Cursor
from service.core.errors import Unavailable
from service.core.sending import Appended, AppendStatus
from service.delivery import receipter as module
from service.delivery.receipter import Receipter
from service.delivery.worker import Worker
from service.store.appends import Note
from service.store.marks import Owed
from service.telemetry import RECEIPTS_PUT_OFF
from tests.delivery.conftest import Start
from tests.delivery.rig import NEVER, a_message, connect, ended, send, total, troubled, until, until_stored, within

IN = Appended(AppendStatus.APPENDED, Cursor(5, 1), Cursor(0, 0))
THERE = Cursor(9, 9)


@dataclass
class Store:
    """Marks, inboxes and appends of a server that does what the test says. `owes`: user → the portions it owes."""

    owes: dict[str, list[Owed]] = field(default_factory=dict)
    away: bool = False
    lost: set[str] = field(default_factory=set)  # senders whose server is away
    notes: list[Note] = field(default_factory=list)
    made: list[tuple[str, Cursor]] = field(default_factory=list)
    looks: int = 0
    status: AppendStatus = AppendStatus.APPENDED

    async def owed(self, asked: Sequence[tuple[str, Cursor | None]]) -> list[Owed | None]:
        self.looks += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("as the test wants it")
        return [self._portion(user, after) for user, after in asked]

    def _portion(self, user: str, after: Cursor | None) -> Owed | None:
        portions = self.owes.get(user, [])
        place = 0 if after is None else [one.upto for one in portions].index(after) + 1
        return portions[place] if place < len(portions) else None

    async def note(self, notes: Sequence[Note]) -> list[Appended | Unavailable]:
        if self.away:
            raise Unavailable("as the test wants it")
        self.notes += notes
        return [
            Unavailable("its node is away") if note.user in self.lost else Appended(self.status, IN.cursor, IN.prev)
            for note in notes
        ]

    async def receipted(self, made: Sequence[tuple[str, Cursor]]) -> None:
        self.made += made


@dataclass
class Bench:
    store: Store = field(default_factory=Store)
    told: list[str] = field(default_factory=list)
    on: bool = True

    def __post_init__(self) -> None:
        store: Any = self.store
        self.receipter = Receipter(store, store, store, self.tell, 0.0, self.on)

    def tell(self, user: str, _fields: Any, _result: Appended) -> None:
        self.told.append(user)

    @property
    def named(self) -> list[str]:
        return [f"{note.user} {note.identity}" for note in self.store.notes]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    task = asyncio.create_task(bench.receipter.run())
    yield bench
    assert not task.done()
    await ended(task)


# What it does, by itself.


async def test_each_sender_gets_one_receipt_and_then_it_is_noted_down(bench: Bench) -> None:
    bench.store.owes["bob"] = [Owed(THERE, False, {"alice": "m9", "carol": "m4"})]
    bench.receipter.add("bob")
    await within(bench.receipter.drained(), "the receipts")
    assert bench.named == ["alice receipt/bob/delivered:m9", "carol receipt/bob/delivered:m4"]
    assert bench.told == ["alice", "carol"]
    assert bench.store.made == [("bob", THERE)]


async def test_of_several_portions_only_the_last_message_of_each_sender_counts(bench: Bench) -> None:
    first = Owed(Cursor(1, 1), True, {"alice": "m1", "carol": "m1"})
    bench.store.owes["bob"] = [first, Owed(THERE, False, {"alice": "m2"})]
    bench.receipter.add("bob")
    await within(bench.receipter.drained(), "the receipts")
    assert bench.named == ["alice receipt/bob/delivered:m2", "carol receipt/bob/delivered:m1"]
    assert bench.store.made == [("bob", THERE)]


async def test_where_nothing_is_owed_it_is_noted_down_all_the_same(bench: Bench) -> None:
    bench.store.owes["bob"] = [Owed(THERE, False)]
    bench.receipter.add("bob")
    bench.receipter.add("nobody")
    await within(bench.receipter.drained(), "the look")
    assert bench.store.notes == []
    assert bench.store.made == [("bob", THERE)]


@pytest.mark.parametrize(
    ("took", "since", "expected"),
    ((0.0, 0.0, 0.05), (0.01, 0.0, 0.05), (0.02, 0.0, 0.08), (0.02, 0.01, 0.07), (9.0, 0.0, 0.25), (9.0, 3600.0, 0.05)),
    ids=("nothing yet", "a short one", "a long one", "a while ago", "much too long a one", "an hour ago"),
)
def test_receipts_gather_for_longer_the_longer_the_last_round_took(took: float, since: float, expected: float) -> None:
    assert module.rest(0.05, took, since) == pytest.approx(expected)


async def test_each_round_says_how_long_it_took(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []

    def rest(_: float, took: float, since: float) -> float:
        asked.append((took, since))
        return 0.0

    monkeypatch.setattr(module, "rest", rest)
    for _ in range(2):
        bench.receipter.add("bob")
        await within(bench.receipter.drained(), "the round")
    (first, _), (second, since) = asked
    assert first == 0.0
    assert second > 0.0
    assert since > 0.0


async def test_what_is_noted_down_already_is_done(bench: Bench) -> None:
    bench.store.owes["bob"] = [Owed(THERE, False, settled=True)]
    bench.receipter.add("bob")
    await within(bench.receipter.drained(), "the look")
    assert (bench.store.looks, bench.store.notes, bench.store.made) == (1, [], [])


async def test_while_the_server_is_away_users_wait(bench: Bench) -> None:
    bench.store.owes["bob"] = [Owed(THERE, False, {"alice": "m1"})]
    bench.store.away = True
    bench.receipter.add("bob")
    await until(lambda: bench.store.looks >= 2, "it tries again")
    assert bench.store.made == []
    bench.store.away = False
    await within(bench.receipter.drained(), "the receipts")
    assert bench.store.made == [("bob", THERE)]


async def test_a_sender_whose_node_is_away_is_tried_again_and_holds_up_nobody_else(bench: Bench) -> None:
    bench.store.owes = {
        "bob": [Owed(THERE, False, {"alice": "m1", "carol": "m1"})],
        "dave": [Owed(THERE, False, {"alice": "m2"})],
    }
    bench.store.lost = {"carol"}
    bench.receipter.add("bob")
    bench.receipter.add("dave")
    await until(lambda: bench.store.looks >= 2, "it tries again")
    assert bench.store.made == [("dave", THERE)]
    bench.store.lost = set()
    await within(bench.receipter.drained(), "the receipts")
    assert bench.store.made == [("dave", THERE), ("bob", THERE)]


@pytest.mark.parametrize("status", (AppendStatus.DUPLICATE, AppendStatus.LEFT_OUT, AppendStatus.FAILED))
async def test_what_is_not_appended_is_told_to_nobody_and_done(bench: Bench, status: AppendStatus) -> None:
    bench.store.owes["bob"] = [Owed(THERE, False, {"alice": "m1"})]
    bench.store.status = status
    bench.receipter.add("bob")
    await within(bench.receipter.drained(), "the receipts")
    assert bench.told == []
    assert bench.store.made == [("bob", THERE)]


async def test_users_who_wait_are_bounded_and_those_passed_over_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    bench, before = Bench(), total(RECEIPTS_PUT_OFF)
    for user in ("bob", "carol", "dave", "bob"):
        bench.receipter.add(user)
    assert total(RECEIPTS_PUT_OFF) == before + 1


async def test_where_receipts_are_off_nobody_is_looked_at() -> None:
    bench = Bench(on=False)
    bench.receipter.add("bob")
    await within(bench.receipter.drained(), "nothing")


# In a worker.


async def test_a_hundred_acked_together_make_one_receipt(start: Start, store: Any) -> None:
    worker, other = await start(), await start()
    alice, bob = await connect(other, "alice", "desk"), await connect(worker)
    await send(other, *(a_message(f"m{n}") for n in range(100)))
    await bob.come(100)
    bob.ack()
    receipt = await alice.next("receipt")
    assert (receipt["target"], receipt["by"], receipt["kind"]) == ("m99", "bob", "delivered")
    assert len(alice.of("receipt")) == 1
    await until_stored(lambda: settled(store), "it is noted down")


async def settled(store: Any, user: str = "bob") -> bool:
    best, made = await store.hmget(f"chat:state:{{{user}}}", "best", "receipted")
    return best is not None and best == made


async def test_a_worker_that_fails_between_ack_and_receipt_leaves_it_to_the_next_ack(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    note = troubled(worker.appends, "note")
    note.gate.clear()
    alice, bob = await connect(worker, "alice", "desk"), await connect(worker)
    await send(worker, a_message("m1"))
    await bob.come(1)
    bob.ack()
    await until(lambda: note.calls, "it is about to append the receipt")
    worker.receipter._waiting.clear()
    await ended(worker.tasks.get("receipter"))
    assert alice.of("receipt") == []
    assert not await settled(store)
    other = await start(audit_interval=NEVER)
    bobs = await connect(other)  # the claim names him
    await alice.next("receipt")
    await until_stored(lambda: settled(store), "it is noted down")
    assert bobs.closes == []
    assert len(alice.of("receipt")) == 1
    worker.tasks.dead.clear()


async def test_the_audit_makes_good_what_was_left_out(start: Start, store: Any) -> None:
    worker = await start()
    alice, bob = await connect(worker, "alice", "desk"), await connect(worker)
    [cursor] = await send(worker, a_message("m1"))
    await bob.come(1)
    # As an older worker does it, which knows nothing of receipts; and the word of it was lost.
    await store.hset("chat:state:{bob}", mapping={"best": str(cursor), "floor": str(cursor)})
    await store.hset("chat:cursors:{bob}", "phone", str(cursor))
    await alice.next("receipt")
    await until_stored(lambda: settled(store), "it is noted down")


async def test_making_it_twice_makes_one(worker: Worker, store: Any) -> None:
    alice, bob = await connect(worker, "alice", "desk"), await connect(worker)
    await send(worker, a_message("m1"))
    await bob.come(1)
    bob.ack()
    await alice.next("receipt")
    await until_stored(lambda: settled(store), "it is noted down")
    await store.hdel("chat:state:{bob}", "receipted")
    worker.receipter.add("bob")
    await until_stored(lambda: settled(store), "it is noted down again")
    assert await store.xlen("chat:inbox:{alice}") == 2  # the copy, and one receipt

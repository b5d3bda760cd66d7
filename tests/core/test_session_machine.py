"""The session against everything at once: generated sequences of what writers, the server, the network and the
device may do, checked after every step, and at the end for completeness.
"""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from service.core import session as module
from service.core.cursor import START, Cursor
from service.core.session import State
from tests.core.inbox_model import Hint, Inbox
from tests.core.rig import Rig

# The session's bounds, small enough to be met all the time.
BOUNDS = {
    "WINDOW_BYTES": 700,
    "HELD_ENTRIES": 3,
    "HELD_BYTES": 400,
    "PAGE_BYTES": 600,
    "PAGE_ENTRIES": 5,
    "GUESSED_SIZE": 100.0,
}
SIZES = st.sampled_from((0, 10, 100, 260, 900))
CARRIED = 200
"""Bytes of a tail that hints carry."""
WINDOWS = st.integers(1, 6)
PICK = st.integers(0, 10_000)
"""Picks one of what is there, whatever that is."""


class Sessions(RuleBasedStateMachine):
    """One device of one inbox, with a worker between them."""

    def __init__(self) -> None:
        super().__init__()
        self.inbox = Inbox()
        self.rig = Rig(self.inbox)
        self.hints: list[Hint] = []  # on their way
        self.audits: list[tuple[Cursor, Cursor | None]] = []  # where the session stood, and the answer
        self.fruitless = 0
        self.promised = START  # the highest cursor that a hint has named on this connection

    @initialize(before=st.integers(0, 12), window=WINDOWS, known=st.booleans(), live=st.booleans())
    def connects_for_the_first_time(self, before: int, window: int, known: bool, live: bool) -> None:
        if known:
            self.inbox.claim()
        for _ in range(before):
            self.inbox.append()
        self.rig.connect(window)
        if live:
            self.all_comes_to_rest()

    # Writers.

    @rule(size=SIZES, later=st.integers(0, 3), heard=st.booleans())
    def appends(self, size: int, later: int, heard: bool) -> None:
        self.inbox.clock += later
        self.hints.append(self.inbox.append(size))
        if heard:
            self._hint(self.hints.pop())

    @rule(data=st.data(), sizes=st.lists(SIZES, min_size=2, max_size=8))
    def appends_several_whose_hints_cross(self, data: st.DataObject, sizes: list[int]) -> None:
        hints = [self.inbox.append(size) for size in sizes]
        for hint in data.draw(st.permutations(hints)):
            self._hint(hint)

    @precondition(lambda self: self.hints)
    @rule(pick=PICK, again=st.booleans())
    def a_hint_arrives(self, pick: int, again: bool) -> None:
        at = pick % len(self.hints)
        self._hint(self.hints[at] if again else self.hints.pop(at))

    def _hint(self, hint: Hint) -> None:
        self.fruitless = 0
        if hint.cursor in self.inbox.truth.entries:
            self.promised = max(self.promised, hint.cursor)
        self.rig.hint(hint, carried=len(hint.tail) <= CARRIED)

    @precondition(lambda self: self.hints)
    @rule(pick=PICK)
    def a_hint_is_lost(self, pick: int) -> None:
        del self.hints[pick % len(self.hints)]

    # The server.

    @rule(count=st.integers(1, 4))
    def is_trimmed(self, count: int) -> None:
        self.inbox.trim(count)

    @precondition(lambda self: self.inbox.deletable)
    @rule(pick=PICK)
    def an_entry_is_deleted(self, pick: int) -> None:
        self.inbox.delete(self.inbox.deletable[pick % len(self.inbox.deletable)])

    @precondition(lambda self: self.inbox.truth.entries)
    @rule(pick=PICK, size=SIZES, heard=st.booleans())
    def a_message_is_deleted_by_its_sender(self, pick: int, size: int, heard: bool) -> None:
        hint = self.inbox.erase(self.inbox.kept[pick % len(self.inbox.kept)], size=size)
        self.hints.append(hint)
        if heard:
            self._hint(self.hints.pop())

    @precondition(lambda self: self.inbox.truth.erased and self.inbox.kept)
    @rule()
    def what_was_deleted_before_the_oldest_entry_is_forgotten(self) -> None:
        self.inbox.forget_erased(self.inbox.kept[0])

    @precondition(lambda self: self.inbox.truth.entries)
    @rule(pick=PICK)
    def an_entry_expires(self, pick: int) -> None:
        self.inbox.expire(self.inbox.kept[pick % len(self.inbox.kept)])

    @rule(
        changes=st.integers(1, 12),
        clock=st.sampled_from((0, 50, -10, -1000)),
        new=st.lists(SIZES, max_size=6),
        erased=st.booleans(),
    )
    def loses_its_tail(self, changes: int, clock: int, new: list[int], erased: bool) -> None:
        self.inbox.rewind(changes, clock)
        self.rig.disrupt()
        self.promised = START
        self.audits = [(before, None) for before, _ in self.audits]
        for size in new:
            self.inbox.append(size)
        number = self.rig.session.cursor.seq
        anew = [cursor for cursor in self.inbox.kept if cursor.seq == number and cursor != self.rig.session.cursor]
        if erased and anew:  # what stands now where the session stood is deleted at once
            self.inbox.erase(anew[0])

    # The worker.

    @precondition(lambda self: self.rig.reading)
    @rule()
    def a_command_of_the_page_is_answered(self) -> None:
        self._step()

    @precondition(lambda self: self.rig.reading)
    @rule()
    def the_page_arrives(self) -> None:
        while not self._step():
            pass

    @precondition(lambda self: self.rig.reading)
    @rule(size=SIZES)
    def an_entry_comes_while_the_page_is_on_its_way(self, size: int) -> None:
        while not self.rig.answered:
            self._step()
        self._hint(self.inbox.append(size))
        self._step()

    def _step(self) -> bool:
        told = len(self.rig.frames)
        arrived = self.rig.step() is not None
        if arrived:
            self.fruitless = 0 if len(self.rig.frames) > told else self.fruitless + 1
        return arrived

    @rule()
    def patience_is_over(self) -> None:
        self.rig.settle()

    @rule()
    def an_audit_asks(self) -> None:
        self.audits.append((self.rig.session.cursor, None))

    @precondition(lambda self: self.audits)
    @rule(answer=st.booleans())
    def an_audit_is_answered(self, answer: bool) -> None:
        before, last = self.audits.pop(0)
        if last is None and not answer:
            self.audits.insert(0, (before, self.inbox.last))
        else:
            self.fruitless = 0
            self.rig.audit(last or self.inbox.last, before)

    @rule()
    def an_audit_finds_no_state(self) -> None:
        """As if an operator had deleted it."""
        self.fruitless = 0
        self.rig.audit(START, self.rig.session.cursor)

    @rule()
    def acks_are_stored(self) -> None:
        self.rig.store_ack()

    # The device.

    @rule(pick=PICK)
    def the_device_acks(self, pick: int) -> None:
        device = self.rig.device
        choice = device.sent + (device.earlier if device.rewound else [])
        if choice:
            self.fruitless = 0
            self.rig.ack(choice[pick % len(choice)])

    @precondition(lambda self: self.rig.device.sent)
    @rule(pick=PICK, told=st.booleans())
    def the_device_acks_over_http(self, pick: int, told: bool) -> None:
        self.fruitless = 0
        sent = self.rig.device.sent
        self.rig.ack_elsewhere(sent[pick % len(sent)], told=told)

    @precondition(lambda self: self.rig.session.stuck and self.inbox.truth.stored is not None)
    @rule()
    def the_audit_looks_for_acks(self) -> None:
        assert self.inbox.truth.stored is not None
        self.fruitless = 0
        self.rig.hear_acked(self.inbox.truth.stored)

    @precondition(lambda self: self.rig.device.sent)
    @rule()
    def the_device_acks_all(self) -> None:
        self.the_device_acks(len(self.rig.device.sent) - 1)

    @rule(window=WINDOWS, stored=st.booleans(), pick=PICK, written=st.booleans())
    def the_device_reconnects(self, window: int, stored: bool, pick: int, written: bool) -> None:
        if written:
            self.rig.store_ack()
        visited = self.rig.device.visited
        start = None if stored or not visited else visited[pick % len(visited)]
        self.audits.clear()
        self.fruitless = 0
        self.promised = START
        self.rig.connect(window, start)

    # What must hold.

    @invariant()
    def memory_is_bounded(self) -> None:
        if not hasattr(self.rig, "session"):
            return
        session = self.rig.session
        held = [len(tail) for _, tail in session._held.values()]
        assert len(held) <= module.HELD_ENTRIES
        assert session._held_bytes == sum(held) <= module.HELD_BYTES
        assert session.in_flight == len(self.rig.device.in_flight)
        entries = [size for _, size in self.rig.device.in_flight if size]  # gaps weigh nothing
        assert session._bytes == sum(size + module.POSITION_BYTES for size in entries)

    @invariant()
    def the_connection_stays(self) -> None:
        assert self.rig.closed is None

    @invariant()
    def no_page_is_asked_for_in_vain(self) -> None:
        assert self.fruitless <= 2, "asks for the same page again and again"

    @rule()
    def what_hints_have_named_comes_without_an_audit(self) -> None:
        """Liveness: pages, patience and acks are enough."""
        self._rest(audit=False)
        assert self.rig.session.cursor >= self.promised, "a hint was forgotten"

    @rule()
    def all_comes_to_rest(self) -> None:
        """Liveness: when everybody does what they should, the session gets there, and nothing was skipped."""
        self._rest(audit=True)
        rig = self.rig
        assert rig.session.cursor == self.inbox.last
        assert rig.device.live
        for cursor, kept in self.inbox.truth.entries.items():
            known = rig.device.knows(cursor, kept.id) or kept.expired or kept.id in self.inbox.gone
            assert known, f"{kept.id} at {cursor} was silently skipped"

    def _rest(self, *, audit: bool) -> None:
        """Until acks, patience and audits change nothing any more."""
        rig, session = self.rig, self.rig.session
        calm = 0
        for _ in range(30 + 3 * len(self.inbox.ever)):
            before = (session.cursor, session.in_flight, session.state)
            rig.pages()
            if audit:
                rig.audit()
                rig.pages()
            rig.settle()
            rig.pages()
            rig.ack()
            rig.store_ack()
            rig.pages()
            # A hint of lost history that is pushed and rewound within one turn looks like rest, once.
            same = before == (session.cursor, session.in_flight, session.state) and not session.behind
            calm = calm + 1 if same else 0
            if calm == 2:
                break
        self.fruitless = 0
        assert session.state is State.LIVE, f"stuck at {session.cursor}, the inbox is at {self.inbox.last}"

    def teardown(self) -> None:
        if hasattr(self.rig, "session"):
            self.all_comes_to_rest()


def test_nothing_is_skipped_doubled_or_out_of_order_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in BOUNDS.items():
        monkeypatch.setattr(module, name, value)
    run_state_machine_as_test(
        Sessions,
        settings=settings(
            max_examples=300,
            report_multiple_bugs=False,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )

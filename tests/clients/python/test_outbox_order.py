"""Whatever a service answers, and however often connections and processes end: each message is in once, in order."""

from dataclasses import replace
from itertools import chain, repeat

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from inboxd_client.outbox import ItemState, Limits, Outbox, OutboxItem
from inboxd_client.timing import Timing


class Service:
    """One connection at a time; answers in the order it was asked, as the protocol has it."""

    def __init__(self) -> None:
        self.inbox: list[str] = []
        self.begin()

    def begin(self) -> None:
        self.unknown: list[str] = []  # failed on this connection
        self.answers: list[tuple[str, str]] = []  # (id, code) on their way

    def send(self, id: str, fate: str) -> None:
        if self.unknown and id not in self.unknown:
            self.answers.append((id, "out_of_order"))
            return
        if id in self.unknown:
            self.unknown.remove(id)
        if fate != "lost" and id not in self.inbox:
            self.inbox.append(id)
        if fate == "accepted":
            self.answers.append((id, "accepted"))
        else:  # the outcome is unknown: it may be in
            self.unknown.append(id)
            self.answers.append((id, "unavailable"))


class Sending(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.service = Service()
        self.disk: dict[str, OutboxItem] = {}
        self.storing: list[str] = []
        self.count = 0
        self.now = 0.0
        self.connected = False
        self.start()

    def start(self) -> None:
        self.box = Outbox(Timing(), [replace(item) for item in self.disk.values()], max)
        self.storing = []

    @rule(count=st.integers(1, 3), stored=st.booleans())
    def submit(self, count: int, stored: bool) -> None:
        for _ in range(count):
            self.count += 1
            self.storing.append(self.box.add(OutboxItem(f"m-{self.count}", "bob", "1"), 0).id)
        if stored:
            self.reach_the_disk()

    @precondition(lambda self: self.storing)
    @rule()
    def reach_the_disk(self) -> None:
        for id in self.storing:
            item = self.box.get(id)
            assert item is not None
            self.disk[id] = item
            self.box.stored(id)
        self.storing = []

    @precondition(lambda self: not self.connected)
    @rule()
    def connect(self) -> None:
        self.connected = True
        self.service.begin()
        self.box.connected(Limits())

    @rule(fates=st.lists(st.sampled_from(("accepted", "lost", "in")), max_size=2), waited=st.booleans())
    def go_out(self, fates: list[str], waited: bool) -> None:
        self.now += 30 * waited
        turn = self.box.ready(self.now, 0)
        for item in turn.tried:
            self.disk[item.id] = replace(item, state=ItemState.QUEUED)
        for item, fate in zip(turn.sending, chain(fates, repeat("accepted")), strict=False):
            self.service.send(item.id, fate)

    @precondition(lambda self: self.service.answers)
    @rule()
    def hear(self) -> None:
        id, code = self.service.answers.pop(0)
        if code == "accepted":
            self.box.accepted(id)
            self.disk.pop(id, None)
        else:
            self.box.refused({"type": "error", "id": id, "code": code, "retryable": True}, self.now)

    @precondition(lambda self: self.connected)
    @rule(rarely=st.integers(0, 3))
    def lose_the_connection(self, rarely: int) -> None:
        if rarely:
            return
        self.connected = False
        self.service.begin()
        self.box.disconnected()

    @rule(rarely=st.integers(0, 3))
    def restart(self, rarely: int) -> None:
        if rarely:
            return
        self.connected = False
        self.service.begin()
        self.start()

    @invariant()
    def nothing_is_in_twice_or_out_of_order(self) -> None:
        numbers = [int(id.removeprefix("m-")) for id in self.service.inbox]
        assert numbers == sorted(set(numbers))

    def teardown(self) -> None:
        """A service that answers well gets all that reached the disk."""
        expected = set(self.disk)
        if not self.connected:
            self.connect()
        for _ in range(200):
            while self.service.answers:
                self.hear()
            self.go_out([], waited=True)
        assert expected <= set(self.service.inbox)
        assert len(self.box) == len(self.storing)
        self.nothing_is_in_twice_or_out_of_order()


TestAnySequence = Sending.TestCase
TestAnySequence.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

"""Random conversations against two real workers and a real server, held against a simple model of what was accepted.

Several users and devices; direct messages, a group, people who join and leave; edits, deletions, reactions, reads;
devices that come back elsewhere; a worker that dies at any call. In the end each inbox is exactly what the model says,
each device has seen just that, once and in order, receipts are true, nothing is left of what was deleted, and the audit
is clean.
"""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scripts.lab.redis_server import RedisServer
from service.core.entries import Kind
from service.core.sending import Message
from tests.model.handset import Handset
from tests.model.world import OWNER, STOPS, USERS, World

T = TypeVar("T")

EXAMPLES = int(os.environ.get("TEST_CONVERSATIONS", "0"))
"""So many random conversations, other ones each time; else a few that are always the same."""
FEW, STEPS = 10, 30
SELDOM = 8
"""Steps after which all may be looked at: that costs as much as they do."""

PICK = st.integers(0, 1000)
USER = st.sampled_from(USERS)
OTHERS = st.sampled_from(USERS[1:])
TO = st.lists(USER, min_size=1, max_size=3, unique=True)
CHANGES = st.sampled_from((Kind.EDIT, Kind.DELETE, Kind.REACT))


class Conversations(RuleBasedStateMachine):
    """The loop stands still between two steps: what was under way goes on with the next."""

    server: RedisServer
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.server.flush()
        self.world = World(self.server)
        self.unchecked = 0
        self.do(self.world.begin())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        self.unchecked += 1
        return self.loop.run_until_complete(work)

    @initialize(members=st.lists(OTHERS, min_size=1, max_size=3, unique=True), on=PICK)
    def a_group_is_made(self, members: list[str], on: int) -> None:
        self.do(self.world.create(members, on))

    # People.

    @rule(sender=USER, to=TO, on=PICK)
    def somebody_writes(self, sender: str, to: list[str], on: int) -> None:
        self.do(self.world.say(self.world.message(sender, to), on=on))

    @rule(pick=PICK, on=PICK)
    def somebody_writes_to_the_group(self, pick: int, on: int) -> None:
        members = self.world.truth.members
        self.do(self.world.say(self.world.message(members[pick % len(members)], ()), on=on))

    @rule(senders=st.lists(st.tuples(USER, TO, st.booleans()), min_size=2, max_size=8), on=PICK)
    def all_write_at_once(self, senders: list[tuple[str, list[str], bool]], on: int) -> None:
        members = self.world.truth.members
        messages = [self._any(*each, members) for each in senders]
        self.do(self.world.say(*messages, on=on))

    def _any(self, sender: str, to: list[str], grouped: bool, members: list[str]) -> Message:
        return self.world.message(sender, () if grouped and sender in members else to)

    @rule(kind=CHANGES, pick=PICK, on=PICK, grouped=st.booleans())
    def somebody_changes_a_message(self, kind: Kind, pick: int, on: int, grouped: bool) -> None:
        if (change := self._change(kind, pick, grouped=grouped)) is not None:
            self.do(self.world.say(change, on=on))

    @rule(kinds=st.lists(CHANGES, min_size=2, max_size=4), pick=PICK, on=PICK, grouped=st.booleans())
    def a_message_is_changed_from_all_sides(self, kinds: list[Kind], pick: int, on: int, grouped: bool) -> None:
        """An edit may cross the deletion of its target."""
        changes = [change for kind in kinds if (change := self._change(kind, pick, grouped=grouped)) is not None]
        if changes:
            self.do(self.world.say(*changes, on=on))

    def _change(self, kind: Kind, pick: int, *, grouped: bool) -> Message | None:
        """Of any message that there is; by its sender, or a reaction by who got it."""
        said = self.world.truth.said(grouped=grouped)
        if not said:
            return None
        target = said[pick % len(said)]
        others = self.world.truth.members if grouped else target.to
        by = (target.sender, *others)[pick % (1 + len(others))] if kind is Kind.REACT else target.sender
        return self.world.change(kind, by, target)

    @rule(user=OTHERS, on=PICK)
    def somebody_joins_or_leaves(self, user: str, on: int) -> None:
        members = self.world.truth.members
        if user in members:
            self.do(self.world.leave(user, (user, OWNER)[on % 2], on))
        else:
            self.do(self.world.join(user, on))

    @rule(pick=PICK, on=PICK)
    def somebody_reads(self, pick: int, on: int) -> None:
        said = [one for one in self.world.truth.said(grouped=False) if one.to != (one.sender,)]
        if said:
            message = said[pick % len(said)]
            self.do(self.world.read(next(user for user in message.to if user != message.sender), message, on))

    # Devices.

    @rule(pick=PICK)
    def a_device_acks(self, pick: int) -> None:
        self.do(self._acks(self._handset(pick)))

    async def _acks(self, handset: Handset) -> None:
        handset.ack()
        await asyncio.sleep(0.001)

    @rule(pick=PICK, on=PICK, window=st.integers(1, 8), named=st.booleans())
    def a_device_comes_back(self, pick: int, on: int, window: int, named: bool) -> None:
        self.do(self.world.connect(self._handset(pick), on, window, named=named))

    @rule(pick=PICK)
    def a_device_is_lost(self, pick: int) -> None:
        handset = self._handset(pick)
        self.do(self._lost(handset))

    async def _lost(self, handset: Handset) -> None:
        handset.leave()
        await asyncio.sleep(0)

    @precondition(lambda self: len(self.world.handsets) < 7)
    @rule(user=USER, on=PICK)
    def somebody_has_a_new_device(self, user: str, on: int) -> None:
        self.do(self.world.connect(self.world.device(user), on, 4, named=False))

    def _handset(self, pick: int) -> Handset:
        return self.world.handsets[pick % len(self.world.handsets)]

    # Machines.

    @precondition(lambda self: len(self.world.dead) < 2)
    @rule(
        where=st.sampled_from(STOPS),
        after=st.booleans(),
        kinds=st.lists(CHANGES | st.none(), min_size=1, max_size=4),
        pick=PICK,
        grouped=st.booleans(),
        again=st.booleans(),
    )
    def a_worker_dies(
        self, where: str, after: bool, kinds: list[Kind | None], pick: int, grouped: bool, again: bool
    ) -> None:
        """While it is busy with these."""
        messages = self._busy(kinds, pick, grouped=grouped)
        self.do(self.world.die(self.world.worker(pick), where, after=after, messages=messages, again=again))

    @precondition(lambda self: len(self.world.dead) < 2)
    @rule(
        turns=st.integers(0, 60),
        kinds=st.lists(CHANGES | st.none(), min_size=2, max_size=6),
        pick=PICK,
        again=st.booleans(),
    )
    def a_worker_dies_at_any_moment(self, turns: int, kinds: list[Kind | None], pick: int, again: bool) -> None:
        """So many turns of its loop after it was given these."""
        messages = self._busy(kinds[::2], pick, grouped=True) + self._busy(kinds[1::2], pick, grouped=False)
        self.do(self.world.die(self.world.worker(pick), turns=turns, messages=messages, again=again))

    def _busy(self, kinds: list[Kind | None], pick: int, *, grouped: bool) -> list[Message]:
        members, messages = self.world.truth.members, []
        for kind in kinds:
            change = self._change(kind, pick, grouped=grouped) if kind is not None else None
            to = () if grouped else USERS[1 + pick % 3 :]
            messages.append(change or self.world.message(members[pick % len(members)], to))
        return messages

    # What must hold.

    @precondition(lambda self: self.unchecked > SELDOM)
    @rule()
    def all_is_as_it_should_be(self) -> None:
        self.do(self._all_is_well())
        self.unchecked = 0

    async def _all_is_well(self) -> None:
        await self.world.rest()
        await self.world.check()

    def teardown(self) -> None:
        try:
            self.do(self._all_is_well())
        finally:
            self.do(self.world.end())


def test_every_device_sees_what_the_model_says(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.new_event_loop()
    monkeypatch.setattr(Conversations, "server", redis_server, raising=False)
    monkeypatch.setattr(Conversations, "loop", loop, raising=False)
    try:
        run_state_machine_as_test(
            Conversations,
            settings=settings(
                derandomize=not EXAMPLES,
                max_examples=EXAMPLES or FEW,
                stateful_step_count=STEPS,
                phases=[Phase.generate],  # to make one smaller that waits in vain takes many patiences
                report_multiple_bugs=False,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        loop.close()

"""The worker: one identity, one stream, and the tasks of the delivery path. It owns them all."""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from service.config import BUILD, VERSION, Settings
from service.core.cursor import Cursor
from service.core.errors import ClientError, Refused, Unavailable
from service.core.frames import broadcast_frame
from service.delivery.acker import Acker
from service.delivery.announcer import Announcer
from service.delivery.audit import Audit
from service.delivery.changes import Changes
from service.delivery.claims import Releaser
from service.delivery.committer import Committer
from service.delivery.connection import Connection
from service.delivery.copier import Copier
from service.delivery.fanout import RUNNERS, Fanout
from service.delivery.finisher import Finisher
from service.delivery.hub import Hub
from service.delivery.liveness import Liveness
from service.delivery.notices import Notices
from service.delivery.pushing import Pushing
from service.delivery.reader import Reader
from service.delivery.reads import Reads
from service.delivery.reaper import Reaper
from service.delivery.receipter import Receipter
from service.delivery.relay import Relay
from service.delivery.signals import Signals
from service.delivery.spread import Spread
from service.delivery.tasks import Tasks
from service.delivery.teller import Teller
from service.delivery.watching import Watching
from service.store import durability, preflight
from service.store.address import parse
from service.store.appends import Appends
from service.store.blocks import Blocks
from service.store.client import Clients
from service.store.conversations import Conversations
from service.store.fates import Fates
from service.store.groups import Groups
from service.store.history import Histories
from service.store.inbox import Inboxes
from service.store.keys import Keys
from service.store.limits import Limits
from service.store.locate import Locator
from service.store.marks import Marks
from service.store.presence import Claim, Claimed, Presence
from service.store.watchers import Watchers
from service.store.worker_stream import (
    ACKED,
    BROADCAST,
    CANARY,
    KICK,
    PRESENCE,
    REPLACED,
    SIGNAL,
    Control,
    WorkerStreams,
)
from service.telemetry import CONNECTIONS, IDENTITIES, READY

log = logging.getLogger("inboxd.worker")

SUCCESSION_LOOKS = 10
"""Times a new session looks whether the one it replaced has left."""
SUCCESSION_PAUSE = 0.01
"""Seconds between two looks: that one has to hear of it, and to store its acks, whatever their delay."""
RECEIPT_GATHER = 0.1
"""Seconds receipts gather at least: nobody waits for them, and a stream of messages needs few."""
DRAIN_SPREAD_MS = 2000
"""Draining devices are told to come back within this, each at another time."""


class Worker:
    """`on_death` is called when one of its tasks dies: the process should then end and be replaced."""

    def __init__(self, settings: Settings, on_death: Callable[[str], None]) -> None:
        self.settings = settings
        self.version = VERSION
        self.limits: dict[str, Any] = {
            "max_body": settings.max_body,
            "max_frame": settings.max_frame,
            "max_pending": settings.max_pending,
            "dedupe_window": settings.dedupe_window,
        }
        self.id = new_identity()
        self.durability = "appended"
        self.draining = False
        self._left = False
        self._contradictions: list[str] = []
        self._missing: list[str] = []
        self._clocks_apart = 0
        self._kind = parse(settings.redis_url).kind
        self.keys = Keys(settings.prefix)
        self.clients = Clients(settings)
        limits = Limits(
            settings.max_pending, settings.history, settings.retention, settings.device_expiry, settings.dedupe_window,
            settings.max_devices, settings.receipts,
        )  # fmt: skip
        self.appends = Appends(self.clients, self.keys, limits)
        self.inboxes = Inboxes(self.clients, self.keys, limits)
        self.histories = Histories(self.clients, self.keys)
        self.presence = Presence(self.clients.rest, self.keys, limits)
        self.streams = WorkerStreams(self.clients.rest, self.clients.read, self.keys)
        self.hub = Hub()
        self.announcer = Announcer(self.streams, self.presence)
        self.teller = teller = Teller(self, self.hub, self.announcer)
        self.copier = Copier(self.appends, teller.message)
        self.committer = Committer(self.appends, teller.message, self.copier.add, settings.own_copy)
        self.changes = Changes(Locator(self.clients, self.keys), self.committer, self.now_ms)
        self.acker = Acker(self.inboxes, settings.ack_delay)
        self.marks = Marks(self.clients, self.keys)
        self.receipter = Receipter(
            self.marks, self.inboxes, self.appends, teller.note, RECEIPT_GATHER, settings.receipts
        )
        self.inboxes.owing = self.receipter.add
        self.fates = Fates(self.clients, self.keys, self.marks)
        self.conversations = Conversations(self.clients, self.keys, self.marks)
        self.reads = Reads(self.marks, self.appends, teller.note, settings.receipts)
        self.releaser = Releaser(self.presence, self.acker)
        self.relay = Relay(self, self.inboxes, self.streams, self.hub)
        self.reader = Reader(self, self.streams, self.hub, settings.reader_block)
        expiry = min(settings.device_expiry, settings.retention)
        self.audit = Audit(self, self.inboxes, self.presence, self.hub, settings.audit_interval, expiry)
        self._meet_others()
        self.reaper = Reaper(self.presence, settings.dead_after, settings.heartbeat, self.receipter.add)
        beating = Presence(self.clients.beat, self.keys, limits)
        self.liveness = Liveness(self, beating, settings.heartbeat, BUILD)
        self.appends.least_ms = self.liveness.least_ms
        self._meet_groups(limits)
        self.pushing = Pushing(settings, self.appends, self.clients.rest, self.keys, self.now_ms, lambda: self.id)
        self.presence.left = self.pushing.left
        self.tasks = Tasks(on_death)

    def _meet_others(self) -> None:
        self.blocks = Blocks(self.clients.rest, self.keys)
        self.watchers = Watchers(self.clients.rest, self.keys)
        settle, interval = self.settings.presence_settle, self.settings.audit_interval
        self.watching = Watching(self, self.watchers, self.blocks, settle, interval)
        self.notices = Notices(self, self.streams, self.watching)
        self.presence.changed = self.notices.add
        self.signals = Signals(self, self.watchers, self.blocks, self.streams, self.hub, self._members_for)

    def _meet_groups(self, limits: Limits) -> None:
        settings = self.settings
        self.groups = Groups(self.clients, self.keys, limits, settings.max_group)
        self.groups.least_ms = self.liveness.least_ms
        spread = Spread(self.groups, self.appends, self.teller.group)
        self.fanout = Fanout(self.groups, spread, self.committer.refuses, self.now_ms, self.claim_deadline)
        self.finisher = Finisher(self.groups, self.fanout, self.now_ms, settings.audit_interval, settings.dead_after)
        self.reaper.cleaned = self.finisher.wake

    # Life.

    async def start(self) -> None:
        """Enters the list of workers and starts the tasks. Raises Refused where the server's settings
        contradict the promise, Unavailable where it cannot be reached.
        """
        await self.inspect()
        if self._contradictions:
            raise Refused("The server's settings contradict the promise: " + "; ".join(self._contradictions) + ".")
        await self._enter()
        await self.liveness.beat()
        for name, work in (
            ("reader", self.reader.run()),
            ("committer", self.committer.run()),
            ("copier", self.copier.run()),
            ("announcer", self.announcer.run()),
            ("acker", self.acker.run()),
            ("receipter", self.receipter.run()),
            ("relay", self.relay.run()),
            ("releaser", self.releaser.run()),
            ("audit", self.audit.run()),
            ("watching", self.watching.run()),
            ("audit of the watched", self.watching.audit()),
            ("notices", self.notices.run()),
            ("signals", self.signals.run()),
            ("reaper", self.reaper.run(lambda: self.id)),
            ("liveness", self.liveness.run()),
            *self.pushing.tasks(),
            *((f"fan-out {number}", self.fanout.run()) for number in range(1, RUNNERS + 1)),
            ("finisher", self.finisher.run()),
        ):
            self.tasks.start(name, work)

    async def _enter(self) -> None:
        while not await self.presence.enter(self.id):
            self.id = new_identity()
        IDENTITIES.inc()

    async def drain(self) -> None:
        """Sends every device away, stores what they acked, gives the claims back and leaves. Bounded by the
        drain time-out: what is left over then, the reaper does.
        """
        self.draining = self.committer.closing = True
        self.pushing.close()
        READY.set(0)
        subscribers = list(self.hub.all())
        for subscriber in subscribers:
            if isinstance(subscriber, Connection):
                subscriber.drain("the worker is restarting", random.randrange(DRAIN_SPREAD_MS))
        try:
            async with asyncio.timeout(self.settings.drain_timeout / 2):
                await self._leave()
            self._left = True
        except (TimeoutError, Unavailable):
            log.warning("drained only in part; the reaper does the rest")

    async def _leave(self) -> None:
        await self.committer.drained()
        await self.fanout.drained()
        for subscriber in list(self.hub.all()):
            subscriber.end(1012, "the worker is restarting")
        await self.hub.emptied()
        await self.acker.flush()
        await self.releaser.drained()
        await self.pushing.drained()
        await self.receipter.drained()
        await self.copier.drained()  # the last: while a node is away it may wait for long

    async def stop(self) -> None:
        """Ends the tasks; after a whole drain forgets the identity, so that nobody has to reap it."""
        await self.tasks.stop()
        try:
            if self._left:
                await self.presence.forget(self.id)
                await self.presence.sweep(self.id)
        except Unavailable:
            log.warning("left without saying so; the reaper does the rest")
        await self.clients.aclose()

    def problems(self) -> list[str]:
        """Why this worker is not ready; [] when it is."""
        found = [f"the {name} has died" for name in self.tasks.dead]
        found += self._contradictions + self._missing + self.liveness.problems()
        if self.draining:
            found.append("draining")
        return found

    def now_ms(self) -> int:
        return self.liveness.now_ms()

    def claim_deadline(self) -> int:
        """Until when, by the server's clock, a claim made now may count (ms): then its caller gives up. In a Cluster
        it may meet a clock that is ahead of the one this worker goes by.
        """
        return self.now_ms() + int(self.settings.redis_timeout * 1000) + self._clocks_apart

    @property
    def connections(self) -> int:
        CONNECTIONS.set(len(self.hub))
        return len(self.hub)

    @property
    def position(self) -> str:
        return self.reader.position

    # What the other stages report.

    async def take_identity(self) -> None:
        """The old identity was called dead: a new one, and every claim again under it."""
        self.id = new_identity()
        await self._enter()
        self.reader.resync()
        self.recheck()  # finds every claim under the old name

    def beaten(self, beating: bool) -> None:
        self.reaper.beaten(beating)
        READY.set(0 if self.problems() else 1)

    async def inspect(self) -> str:
        """Looks at the servers' live settings; what they contradict is no longer promised. Their replication ids."""
        found = await preflight.inspect_all(self.clients.beat)
        servers, asked = list(found.values()), self.settings.durability
        self._contradictions = preflight.contradictions(servers, asked, self._kind)
        self._missing = durability.missing(servers, asked)
        self._clocks_apart = durability.clocks_apart(servers)
        level = preflight.judged(servers, self.settings)
        self.durability, self.appends.wait = level.name, level.wait
        self.groups.wait = level.wait
        self.committer.barred = durability.barred(servers, asked)
        return " ".join(f"{address}={facts.history}" for address, facts in found.items())

    def changed(self) -> None:
        """The server was away or may be another one: the reader's place and every session are looked at again."""
        self.reader.resync()
        self.recheck()

    def recheck(self) -> None:
        self.audit.recheck()
        self.watching.recheck()

    def deaf(self) -> None:
        log.warning("the canary is late; the reader finds its place again")
        self.reader.resync()

    def on_control(self, control: Control) -> None:
        """Raises ValueError for a value that is not of the control's form."""
        match control.name:
            case name if name == CANARY:
                self.liveness.on_canary(int(control.value))
            case name if name == REPLACED:
                user, device, session = control.value.split("/")
                self.hub.end(user, device, session, 4509, "replaced")
            case name if name == ACKED:
                self.relay.on_control(control.value)
            case name if name == SIGNAL:
                self.signals.on_control(control.value)
            case name if name == PRESENCE:
                self.notices.on_control(control.value)
            case name if name == KICK:
                user, _, kicked = control.value.partition("/")
                self.hub.end(user, kicked or None, None, 4510, "removed by an operator")
            case name if name == BROADCAST:
                body = orjson.loads(control.value)  # anybody may have written there, over any number of lines
                line = broadcast_frame(orjson.dumps(body), self.now_ms())
                for subscriber in self.hub.all():
                    if isinstance(subscriber, Connection):
                        subscriber.tell(line)
            case name:
                log.warning("control %s is not known here", name)

    async def succeed(self, claimed: Claimed, by: Claim) -> Cursor:
        """The device's stored cursor. A session that was replaced is told to go, and given a moment to store the
        acks it has, so that its successor does not repeat what they cover.
        """
        if claimed.owes:
            self.receipter.add(by.user)
        if not claimed.held:
            return claimed.stored  # released, and its acks before that
        worker, session, _ = claimed.held.split("/")
        if session == by.session:
            return claimed.stored
        replaced = Claim(by.user, by.device, worker, session)
        try:
            if replaced.stream and replaced.stream != by.stream:  # first of all: its browser will be back in a second
                await self.presence.end_stream(replaced, "replaced")
            if worker == self.id:
                self.hub.end(by.user, by.device, session, 4509, "replaced")
            elif not await self.streams.tell(worker, REPLACED, f"{by.user}/{by.device}/{session}"):
                return claimed.stored  # that worker is gone
            for _ in range(SUCCESSION_LOOKS):
                if not await self.presence.lingers(replaced):
                    break
                await asyncio.sleep(SUCCESSION_PAUSE)
            return await self.presence.stored(by.user, by.device) or claimed.stored
        except Unavailable:
            log.info("a replaced session of %s is found by the audit", worker)
            return claimed.stored

    async def _members_for(self, group: str, asking: str) -> Sequence[str]:
        """Raises Unavailable, ClientError `no_such_group`."""
        members = await self.groups.members_of(group)
        if asking not in members:
            raise ClientError("no_such_group", f"you are in no group {group}", "group")
        return members


def new_identity() -> str:
    return f"w-{secrets.token_hex(4)}"

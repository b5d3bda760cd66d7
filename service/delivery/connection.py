"""A connection: the shell around one session. It moves data; the session decides. Its other side is a `Peer`."""

import asyncio
import logging
import random
import secrets
from typing import TYPE_CHECKING

import orjson

from service.core.backoff import Backoff
from service.core.cursor import Cursor
from service.core.entries import frame
from service.core.errors import ClientError, Fault, Unavailable
from service.core.frames import Hello, History, error_frame, history_frame
from service.core.page import Page
from service.core.session import Read, Session
from service.delivery.peer import Peer
from service.delivery.sends import Sends
from service.store.history import Asked
from service.store.presence import Claim, Claimed
from service.telemetry import DEVICES_REFUSED, ENTRIES_EXPIRED, ENTRIES_SENT, REPLACED, REPLAYED_PAGES, USERS_CROWDED

if TYPE_CHECKING:
    from service.delivery.worker import Worker

log = logging.getLogger("inboxd.connection")

FRAME_BYTES = 256 << 10
"""What one WebSocket frame bundles at most, unless a single line is longer: clients bound their frames too."""
CROWDED = Fault("too_many_connections", "as many devices of this user are connected as may be")


class Connection:
    """One device, connected. `closed`: it must not be read any more."""

    def __init__(self, worker: "Worker", peer: Peer, user: str, device: str, attempt: int, session: str = "") -> None:
        self._worker = worker
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self.claim = Claim(user, device, worker.id, session or f"s-{secrets.token_hex(6)}", attempt)
        self.session: Session | None = None
        self.closed = False
        self._opened = False  # `welcome` has been said
        self._begun: asyncio.Future[None] | None = None  # whoever waits for that, or for the end
        self.sends = Sends(worker, self.tell)
        self._out: list[bytes] = []
        self._flushing = False
        self._reading: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._stored: Cursor | None = None  # the device's cursor, as far as it was told here

    @property
    def cursor(self) -> Cursor | None:
        return self.session.cursor if self.session is not None and self._opened else None

    # Opening and closing.

    async def open(self, hello: Hello, *, confirm: bool = True) -> None:
        """Claims the device; returns once welcomed, or closed instead. `confirm`: hello's cursor counts as acked."""
        if self._worker.hub.crowded(self.claim, self._worker.settings.max_connections_per_user):
            USERS_CROWDED.inc()
            self._refuse(CROWDED, 4003)
            return
        try:
            claimed = await self._take_claim()
        except ClientError as error:
            DEVICES_REFUSED.inc()
            self._refuse(error.fault, 4500)
            return
        if claimed is None:
            return
        self._stored = stored = await self._worker.succeed(claimed, self.claim)
        start = Cursor.parse(hello.cursor) if hello.cursor is not None else stored
        self.session = Session(start, hello.window, self._welcome, confirm=confirm and hello.cursor is not None)
        self._begun = self._loop.create_future()
        self._pump()
        if not self.closed:
            await self._begun
        self._begun = None

    def _begin(self) -> None:
        if self._begun is not None and not self._begun.done():
            self._begun.set_result(None)

    async def _take_claim(self) -> Claimed | None:
        """None: refused, closed meanwhile, or the server stayed away. A socket that waited too long must not claim:
        its device may have come back elsewhere, and would be thrown out.
        """
        worker, backoff = self._worker, Backoff(first=0.05, most=2.0)
        worker.hub.add(self)  # before it is claimed: whoever takes over must find it
        deadline = self._loop.time() + worker.settings.hello_timeout
        while not (self.closed or self._peer.gone):
            claim = self.claim
            try:
                claimed = await worker.presence.claim(claim, deadline_ms=worker.claim_deadline())
            except Unavailable:
                if self._loop.time() > deadline:
                    self.end(1013, "the store cannot be reached")
                    return None
                await asyncio.sleep(backoff.wait(random.random()))
                continue
            if claimed is None:
                self.end(4509, "replaced")
                return None
            if claim.session not in worker.hub.sessions(claim.user):
                worker.releaser.add(claim)  # lost while it was being claimed
                return None
            if claim.worker == worker.id:
                return claimed
            self._rename()
        return None

    def _refuse(self, fault: Fault, code: int) -> None:
        """Says why there will be no `welcome`, then closes."""
        self._peer.send([error_frame(fault)])
        self.end(code, fault.code)

    def lost(self) -> None:
        """The socket is gone. Gives the claim back; what was not acked is sent again."""
        self._shut()
        if self._reading is not None:
            self._reading.cancel()
        if self._patience is not None:
            self._patience.cancel()
        self._worker.hub.remove(self)
        self._worker.releaser.add(self.claim)

    def end(self, code: int, reason: str) -> None:
        if self.session is not None:
            self.session.end(code, reason)
            self._pump()
        elif not self.closed:
            self._close(code, reason)

    def drain(self, reason: str, reconnect_after_ms: int) -> None:
        """Tells the device that the worker goes; acks still count until the socket is closed."""
        if self.session is not None and self._opened:
            self.session.drain(reason, reconnect_after_ms)
            self._pump()

    async def reclaim(self) -> None:
        """Takes the claim again, under the worker's present name. Raises Unavailable."""
        if self.closed:
            return
        if self.claim.worker != self._worker.id:
            self._rename()
        if await self._worker.presence.claim(self.claim, again=True, deadline_ms=self._worker.claim_deadline()) is None:
            self.end(4509, "replaced")
        if self.claim.session not in self._worker.hub.sessions(self.claim.user):
            self._worker.releaser.add(self.claim)  # lost while it was being claimed

    def _rename(self) -> None:
        claim = self.claim
        self.claim = Claim(claim.user, claim.device, self._worker.id, claim.session, claim.attempt)

    def _welcome(self, start: Cursor, head: Cursor) -> bytes:
        self._opened = True
        self._begin()
        session = self.session
        assert session is not None  # it is the session that asks
        claim, worker = self.claim, self._worker
        return orjson.dumps(
            {
                "type": "welcome",
                "user": claim.user,
                "device": claim.device,
                "session": claim.session,
                "worker": claim.worker,
                "cursor": str(start),
                "head": str(head),
                "pending": max(0, head.seq - start.seq),
                "window": session.window,
                "limits": worker.limits,
                "server": worker.version,
                "ping_interval": worker.settings.ping_interval,
            }
        )

    # What the hub and the audit say.

    def on_hint(self, prev: Cursor, cursor: Cursor, tail: bytes | None) -> None:
        if self.session is not None and not self.closed:
            self.session.on_hint(prev, cursor, tail)
            self._pump()

    def on_audit(self, last: Cursor, before: Cursor) -> None:
        if self.session is not None and not self.closed:
            self.session.on_audit(last, before)
            self._pump()

    def settle(self) -> None:
        if self.session is not None and not self.closed:
            self.session.settle()
            self._pump()

    # What the device says.

    def ack(self, cursor: Cursor) -> None:
        if self.session is not None:
            self.session.on_ack(cursor)
            self._pump()

    @property
    def stuck(self) -> bool:
        return self.session is not None and not self.closed and self.session.stuck

    def on_acked(self, cursor: Cursor) -> None:
        """Not where it acks what it cannot have read yet, or memory would have no bound. The audit asks again."""
        if self.session is not None and self._opened and not self._peer.flooded:
            self._stored = cursor
            self.session.on_acked(cursor)
            self._pump()

    def on_stored(self, cursor: Cursor) -> None:
        """What stood there before says nothing: a device may ask for more than it has acked."""
        if cursor != self._stored:
            self.on_acked(cursor)

    async def history(self, asked: History) -> None:
        """Answers with one page, or with `error`."""
        if self.closed:
            return
        worker = self._worker
        try:
            entries, more = await worker.histories.read(self.claim.user, Asked.of(asked), worker.now_ms())
        except Unavailable:
            self.tell(error_frame(Fault("unavailable", "the store cannot be reached"), ref=asked.ref))
            return
        frames = [frame(entry.tail, entry.cursor, replay=True) for entry in entries if isinstance(entry.tail, bytes)]
        self.tell(history_frame(asked.ref, frames, more))

    def tell(self, line: bytes) -> None:
        """One frame that is no entry. Nothing comes before `welcome`."""
        if not self._opened:
            return
        self._out.append(line)
        if not self._flushing:
            self._flush_soon()

    def offer(self, line: bytes) -> bool:
        """As `tell`, of what may be lost; False: it was, because nothing can be told now, or the peer does not read."""
        if not self._opened or self.closed or self._peer.flooded:
            return False
        self.tell(line)
        return True

    # Moving the data.

    def _pump(self) -> None:
        """Empties the session's outbox."""
        session = self.session
        assert session is not None  # only called once there is one
        if session.frames:
            self._out += session.frames
            session.frames.clear()
            if not self._flushing:
                self._flush_soon()
        if session.expired:
            ENTRIES_EXPIRED.inc(session.expired)
            session.expired = 0
        if session.ack is not None:
            self._worker.acker.add(self.claim.user, self.claim.device, session.ack)
            session.ack = None
        if session.read is not None:
            read, session.read = session.read, None
            self._reading = self._loop.create_task(self._read(session, read))
            self._reading.add_done_callback(self._read_ended)
        if session.close is not None and not self.closed:
            self._close(session.close.code, session.close.reason)
        elif session.heard > session.cursor and session.behind:
            self._wait_patiently()

    def _wait_patiently(self) -> None:
        self._worker.hub.behind.add(self)
        if self._patience is None:
            self._patience = self._loop.call_later(self._worker.settings.hole_patience, self._out_of_patience)

    def _out_of_patience(self) -> None:
        self._patience = None
        self.settle()

    async def _read(self, session: Session, read: Read) -> None:
        """Reads the page a session asked for, however long the server is away."""
        backoff = Backoff(first=0.05, most=2.0)
        worker, claim = self._worker, self.claim
        page: Page | None = None
        while page is None:
            try:
                page = await worker.inboxes.page(claim.user, claim.device, read.after, read.count, worker.now_ms())
            except Unavailable:
                await asyncio.sleep(backoff.wait(random.random()))
        REPLAYED_PAGES.inc()
        self._reading = None
        session.on_page(page)
        self._pump()

    def _read_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a page of %s could not be handled", self.claim.user, exc_info=error)
            self.end(1011, "internal")

    def _flush_soon(self) -> None:
        """Whatever becomes ready in this tick of the loop leaves as one frame."""
        self._flushing = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        lines, self._out = self._out, []
        if not lines:
            return
        try:
            self._write(lines)
        except Exception:  # what comes after a hole must not go out
            log.exception("the socket of %s cannot be written to", self.claim.user)
            self._out.clear()
            self.end(1011, "internal")

    def _write(self, lines: list[bytes]) -> None:
        ENTRIES_SENT.inc(len(lines))
        at = size = 0
        for position, line in enumerate(lines):
            if size + len(line) > FRAME_BYTES and position > at:
                self._peer.send(lines[at:position])
                at, size = position, 0
            size += len(line)
        self._peer.send(lines[at:])

    def _close(self, code: int, reason: str) -> None:
        if code == 4509:
            REPLACED.inc()
        self._shut()
        self._flush()
        self._peer.close(code, reason)

    def _shut(self) -> None:
        self.closed = True
        self._begin()
        self.sends.close()

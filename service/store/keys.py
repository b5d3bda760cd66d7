"""The catalogue of keys. Nothing else builds a key.

The hash tag `{…}` keeps all keys of one user, and all of one worker, in one Cluster slot.
`docs/operators.md` shows `CATALOGUE` as a table; a test holds the two equal.
"""

from functools import lru_cache
from typing import NamedTuple


class KeyDoc(NamedTuple):
    """One row of the operators' table."""

    pattern: str
    type: str
    holds: str
    written_by: str
    lives: str


CATALOGUE: tuple[KeyDoc, ...] = (
    KeyDoc(
        "chat:inbox:{bob}",
        "stream",
        "the entries; the id is the cursor; fields `kind id from to body` (or what the kind has instead), and "
        "`expires` (ms) where asked for, `receipts` off where none is wanted",
        "append",
        "retention since the last touch",
    ),
    KeyDoc(
        "chat:state:{bob}",
        "hash",
        "`last` newest cursor; `best` furthest acked, `floor` lowest acked by a live device; "
        "`trimmed` the number up to which entries may be gone; "
        "`devices` live devices, `judged` when they were last counted (ms); "
        "`online` 1 while presence has a row; `seen` current dedupe hash, "
        "`turned` since when (ms), `older` 1 while the other one counts; "
        "`repeats` repeated sends; `left_out` own copies and receipts left out; "
        "`group_refused` entries of groups that found the inbox full; `blocks` 1 while somebody is blocked",
        "append, ack, claim, release",
        "for good: cursors never go back",
    ),
    KeyDoc("chat:cursors:{bob}", "hash", "device → acked cursor", "claim, ack", "retention since the last touch"),
    KeyDoc(
        "chat:devices:{bob}",
        "hash",
        "device → last seen (ms)",
        "claim, ack, release, touch",
        "retention since the last touch",
    ),
    KeyDoc("chat:presence:{bob}", "hash", "device → `worker/session/attempt`", "claim, release", "while connected"),
    KeyDoc(
        "chat:seen:{bob}:a",
        "hash",
        "`m/<from>/<id>` (`edit/…`, `delete/…`, `react/…`, `receipt/…`, `read/…`) → cursor and fingerprint of the "
        "body; `:a` and `:b` take turns",
        "append",
        "one to two dedupe windows",
    ),
    KeyDoc("chat:seen:{bob}:b", "hash", "the other of the two", "append", "one to two dedupe windows"),
    KeyDoc("chat:blocks:{bob}", "set", "who may not send to bob", "block", "for good"),
    KeyDoc(
        "chat:erased:{bob}",
        "zset",
        "`<cursor> <id> <from> to <users>` (or `group <g>/<number>`) of every message that was deleted; score: its "
        "number",
        "append",
        "while the inbox keeps what lies around it",
    ),
    KeyDoc(
        "chat:groups:{bob}",
        "hash",
        "group → the last number appended here; `<group>/refused` → the last that found the inbox full",
        "append",
        "for good: a number never comes twice",
    ),
    KeyDoc(
        "chat:worker:{w-7f3a91c2}",
        "stream",
        "hints for the sockets this worker holds (`user/prev/cursor` → frame), `!` controls and canaries",
        "committers, pulse (which alone creates it)",
        "capped; goes with the worker",
    ),
    KeyDoc(
        "chat:claims:{w-7f3a91c2}",
        "set",
        "`user/device/session` of every claim that names this worker",
        "enlist, release",
        "goes with the worker",
    ),
    KeyDoc(
        "chat:ended:{bob/phone/tab-1}",
        "string",
        "`replaced` or `removed`: why this `stream` of `/v1/events` is over and shall not come back",
        "whoever replaces or removes it",
        "60 s",
    ),
    KeyDoc("chat:workers", "hash", "worker → heartbeat counter, or `dead`", "beat, reap", "dead rows are swept"),
    KeyDoc(
        "chat:about:{w-7f3a91c2}",
        "hash",
        "`host pid version started connections beat_at position`: who the worker is, when it last beat (ms), "
        "how far it has read its stream",
        "pulse",
        "goes with the worker",
    ),
)


class InboxKeys(NamedTuple):
    """The keys of one user, encoded, in the order the scripts take them."""

    state: bytes
    inbox: bytes
    seen_a: bytes
    seen_b: bytes
    presence: bytes
    cursors: bytes
    devices: bytes
    blocks: bytes
    erased: bytes
    groups: bytes


class Keys:
    """Builds every key under one prefix (`INBOXD_PREFIX`)."""

    def __init__(self, prefix: str = "chat:") -> None:
        if "{" in prefix or "}" in prefix:
            raise ValueError("INBOXD_PREFIX must not contain { or }: they choose the Cluster slot")
        self.prefix = prefix
        # Bounded: a service that has met a million users must not remember all their keys.
        self.of = lru_cache(maxsize=16384)(self._of)

    def _of(self, user: str) -> InboxKeys:
        return InboxKeys(
            self.state(user).encode(),
            self.inbox(user).encode(),
            self.seen(user, "a").encode(),
            self.seen(user, "b").encode(),
            self.presence(user).encode(),
            self.cursors(user).encode(),
            self.devices(user).encode(),
            self.blocks(user).encode(),
            self.erased(user).encode(),
            self.groups(user).encode(),
        )

    def inbox(self, user: str) -> str:
        return f"{self.prefix}inbox:{{{user}}}"

    def state(self, user: str) -> str:
        return f"{self.prefix}state:{{{user}}}"

    def cursors(self, user: str) -> str:
        return f"{self.prefix}cursors:{{{user}}}"

    def devices(self, user: str) -> str:
        return f"{self.prefix}devices:{{{user}}}"

    def blocks(self, user: str) -> str:
        return f"{self.prefix}blocks:{{{user}}}"

    def erased(self, user: str) -> str:
        return f"{self.prefix}erased:{{{user}}}"

    def groups(self, user: str) -> str:
        return f"{self.prefix}groups:{{{user}}}"

    def presence(self, user: str) -> str:
        return f"{self.prefix}presence:{{{user}}}"

    def seen(self, user: str, turn: str) -> str:
        return f"{self.prefix}seen:{{{user}}}:{turn}"

    def ended(self, user: str, device: str, stream: str) -> str:
        return f"{self.prefix}ended:{{{user}/{device}/{stream}}}"

    def worker(self, worker: str) -> str:
        return f"{self.prefix}worker:{{{worker}}}"

    def claims(self, worker: str) -> str:
        return f"{self.prefix}claims:{{{worker}}}"

    def workers(self) -> str:
        return f"{self.prefix}workers"

    def about(self, worker: str) -> str:
        return f"{self.prefix}about:{{{worker}}}"

"""The catalogue of keys. Nothing else builds a key.

The hash tag `{…}` keeps all keys of one user, and all of one worker, in one Cluster slot.
`docs/operators.md` shows `CATALOGUE` as a table; a test holds the two equal.
"""

from functools import lru_cache
from typing import NamedTuple
from zlib import crc32


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
        "`receipted` up to where what was acked has its receipts; "
        "`devices` live devices, `judged` when they were last counted (ms); "
        "`online` 1 while presence has a row; `seen` current dedupe hash, "
        "`turned` since when (ms), `older` 1 while the other one counts; "
        "`repeats` repeated sends; `left_out` own copies and receipts left out; "
        "`group_refused` entries of groups that found the inbox full; `blocks` 1 while somebody is blocked; "
        "`pushed` where the user was told by push: what `best` was then, and the newest there was to tell of",
        "append, ack, claim, release",
        "for good: cursors never go back",
    ),
    KeyDoc("chat:cursors:{bob}", "hash", "device → acked cursor", "claim, ack", "retention since the last touch"),
    KeyDoc(
        "chat:devices:{bob}",
        "hash",
        "device → last seen (ms; by its acks, to a minute)",
        "claim, ack, release, touch",
        "retention since the last touch",
    ),
    KeyDoc("chat:presence:{bob}", "hash", "device → `worker/session/attempt`", "claim, release", "while connected"),
    KeyDoc(
        "chat:seen:{bob}:a",
        "hash",
        "`m/<from>/<id>` (`edit/…`, `delete/…`, `react/…`, `receipt/…`, `read/…`) → cursor and fingerprint of the "
        "body; `g/<group>/<number>` where a turn began with it; `:a` and `:b` take turns",
        "append",
        "one to two dedupe windows",
    ),
    KeyDoc("chat:seen:{bob}:b", "hash", "the other of the two", "append", "one to two dedupe windows"),
    KeyDoc("chat:blocks:{bob}", "set", "who may not send to bob", "block", "for good"),
    KeyDoc(
        "chat:watchers:{bob}",
        "hash",
        "worker → until when (ms) it wants to hear that bob comes or goes",
        "watch",
        "six audit intervals since the last watch",
    ),
    KeyDoc(
        "chat:erased:{bob}",
        "zset",
        "`<cursor> <id> <from> to <users>` (or `group <g>/<number>`) of every message that was deleted; score: its "
        "number",
        "append",
        "while the inbox keeps what lies around it",
    ),
    KeyDoc(
        "chat:marks:{bob}",
        "hash",
        "`delivered/user/<peer>`, `read/user/<peer>` → `<id> <cursor> <ms>`; `delivered/group/<group>`, "
        "`read/group/<group>` → `<number> <cursor> <ms>`: how far bob has got, and read, what they sent; since when",
        "owed, read",
        "for good",
    ),
    KeyDoc(
        "chat:groups:{bob}",
        "hash",
        "group → the last number appended here, and when the group gave it out (ms); `<group>/refused` → the last that "
        "found the inbox full",
        "append",
        "for good: a number never comes twice",
    ),
    KeyDoc(
        "chat:push:{1}",
        "zset",
        "user → when to look whether a push is due (ms; `.5`, `.75`: being looked into, `.25`: a second time); "
        "0 to 15: users are spread over them",
        "committers, pusher",
        "until nothing is left to be told",
    ),
    KeyDoc(
        "chat:push:{1}:tries",
        "hash",
        "user → failed tries in a row, how the last one ended (HTTP status, or what went wrong), when (ms)",
        "pusher",
        "until told, or nothing is left to be told",
    ),
    KeyDoc("chat:sweeper", "string", "the worker that looks for users without a row in `push`", "sweeper", "seconds"),
    KeyDoc(
        "chat:pushers:{bob}",
        "hash",
        "device → JSON: `app_id pushkey data since` for a push gateway",
        "`/v1/pushers`, pusher",
        "until deleted, or the gateway rejects it",
    ),
    KeyDoc(
        "chat:group:{team}",
        "hash",
        "`name`, `owner`, `created_at` (ms); `last` the newest number, `ts` its time (ms); "
        "`changed` the last change of members or name; "
        "`count` members; `deleted` 1 once it is; `seen`, `turned`, `older`, `repeats` as in `chat:state`",
        "group_commit, group_change",
        "for good: numbers never go back",
    ),
    KeyDoc(
        "chat:group:{team}:members",
        "hash",
        "user → stays `<joined>-<left>/<at>`, the last open while it is a member: it gets the numbers above `joined`, "
        "up to `left`",
        "group_change",
        "until deleted; who left: two dedupe windows",
    ),
    KeyDoc(
        "chat:group:{team}:log",
        "stream",
        "what was sent and who came and went, under `<number>-0`; the fields of the entries, with `ts`, `expires` "
        "(ms), and of a deletion `erases`",
        "group_commit, group_change, group_done",
        "history, and what a fan-out needs; until deleted",
    ),
    KeyDoc(
        "chat:group:{team}:fanout",
        "hash",
        "number → since when (ms) it is on its way into the members' inboxes",
        "group_commit, group_change, group_done",
        "until all of them have it",
    ),
    KeyDoc(
        "chat:group:{team}:seen:a",
        "hash",
        "as `chat:seen`: → number, fingerprint, ms, members, what a deletion erases, when it expires (ms), and 1 once "
        "it is deleted",
        "group_commit",
        "one to two dedupe windows",
    ),
    KeyDoc("chat:group:{team}:seen:b", "hash", "the other of the two", "group_commit", "one to two dedupe windows"),
    KeyDoc(
        "chat:fanout:{0}",
        "zset",
        "index, in 16 parts: group → until when (ms) something may be committed in it; who has nothing open is "
        "taken out after that",
        "whoever commits, group_forget",
        "minutes",
    ),
    KeyDoc(
        "chat:worker:{w-7f3a91c2}",
        "stream",
        "hints for the sockets this worker holds (`user/prev/cursor` → frame), `!` controls and canaries",
        "committers, pulse (which alone creates it)",
        "capped; goes with the worker; hints and controls are in memory only, "
        "neither in the append-only file nor at replicas",
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
    watchers: bytes
    marks: bytes


class GroupKeys(NamedTuple):
    """The keys of one group, encoded, in the order the scripts take them."""

    group: bytes
    members: bytes
    log: bytes
    fanout: bytes
    seen_a: bytes
    seen_b: bytes


FANOUT_PARTS = 16
"""Parts of the index of groups: each may lie on another server."""


class Keys:
    """Builds every key under one prefix (`INBOXD_PREFIX`)."""

    def __init__(self, prefix: str = "chat:") -> None:
        if "{" in prefix or "}" in prefix:
            raise ValueError("INBOXD_PREFIX must not contain { or }: they choose the Cluster slot")
        self.prefix = prefix
        # Bounded: a service that has met a million users must not remember all their keys.
        self.of = lru_cache(maxsize=16384)(self._of)
        self.group = lru_cache(maxsize=4096)(self._group)

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
            self.watchers(user).encode(),
            self.marks(user).encode(),
        )

    def _group(self, group: str) -> GroupKeys:
        base = f"{self.prefix}group:{{{group}}}"
        parts = ("", ":members", ":log", ":fanout", ":seen:a", ":seen:b")
        return GroupKeys(*(f"{base}{part}".encode() for part in parts))

    def fanout(self, part: int) -> str:
        return f"{self.prefix}fanout:{{{part}}}"

    def fanout_of(self, group: str) -> str:
        """The part of the index that names this group."""
        return self.fanout(crc32(group.encode()) % FANOUT_PARTS)

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

    def marks(self, user: str) -> str:
        return f"{self.prefix}marks:{{{user}}}"

    def watchers(self, user: str) -> str:
        return f"{self.prefix}watchers:{{{user}}}"

    def push(self, partition: int) -> str:
        return f"{self.prefix}push:{{{partition}}}"

    def push_tries(self, partition: int) -> str:
        return f"{self.prefix}push:{{{partition}}}:tries"

    def push_sweeper(self) -> str:
        return f"{self.prefix}sweeper"

    def pushers(self, user: str) -> str:
        return f"{self.prefix}pushers:{{{user}}}"

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

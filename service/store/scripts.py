"""The Lua scripts: loaded once from `lua/*.lua`, called by hash, loaded into the server when it lacks them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from service.store.link import Link, Wait, each, unwrapped


@dataclass(frozen=True, slots=True)
class Script:
    """One `lua/<name>.lua`; its header says KEYS, ARGV and what it returns."""

    name: str
    text: str
    sha: str


def load(name: str) -> Script:
    """Reads one script from the package."""
    text = (files("service.store") / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


APPEND, ACK = load("append"), load("ack")
OWED, READ, SKIM = load("owed"), load("read"), load("skim")
LOCATE = load("locate")
ENLIST, CLAIM, RELEASE = load("enlist"), load("claim"), load("release")
BEAT, PULSE, REAP, HINT = load("beat"), load("pulse"), load("reap"), load("hint")
BLOCK, WATCH = load("block"), load("watch")
PUSH_REMIND, PUSH_LEASE, PUSH_LOOK = load("push_remind"), load("push_lease"), load("push_look")
PUSH_TOLD, PUSH_DONE, PUSH_REJECT = load("push_told"), load("push_done"), load("push_reject")
PUSH = (PUSH_REMIND, PUSH_LEASE, PUSH_LOOK, PUSH_TOLD, PUSH_DONE, PUSH_REJECT)
GROUP_COMMIT, GROUP_CHANGE, GROUP_DONE = load("group_commit"), load("group_change"), load("group_done")
GROUP_ERASE, GROUP_FORGET, GROUP_RENUMBER = load("group_erase"), load("group_forget"), load("group_renumber")
GROUPS = (GROUP_COMMIT, GROUP_CHANGE, GROUP_DONE, GROUP_ERASE, GROUP_FORGET, GROUP_RENUMBER)
OF_WORKERS = (ENLIST, CLAIM, RELEASE, BEAT, PULSE, REAP, HINT)
ALL = (*GROUPS, APPEND, ACK, LOCATE, OWED, READ, SKIM, *OF_WORKERS, BLOCK, WATCH, *PUSH)


Call = tuple[Script, Sequence[Any], Sequence[Any]]
"""A script, its KEYS (all in one slot) and its ARGV."""


async def call(link: Link, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
    """Runs a script. Raises Unavailable: the outcome is unknown."""
    return unwrapped(await call_all(link, [(script, keys, args)]))[0]


async def call_all(link: Link, calls: Sequence[Call], wait: Wait | None = None, *, in_order: bool = False) -> list[Any]:
    """Runs scripts one behind the other without waiting between them, not atomic: their replies. One whose outcome
    is unknown, or that did not get as far as `wait` asks, has `Unavailable` in its place. Raises Unavailable: any of
    them may have run.

    `in_order`: none may run before one in front of it. Then several bring their text along: a server that has just
    started may not know the script at the first, and have been told it by another worker at the second.
    """
    by_text = in_order and len(calls) > 1
    commands = [
        ("EVAL" if by_text else "EVALSHA", script.text if by_text else script.sha, len(keys), *keys, *args)
        for script, keys, args in calls
    ]
    replies = await link.exchange(commands, wait)
    unknown = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if unknown:  # the server does not know them: nothing ran, and the text makes it known
        texts = [("EVAL", calls[n][0].text, *commands[n][2:]) for n in unknown]
        for n, reply in zip(unknown, await link.exchange(texts, wait), strict=True):
            replies[n] = reply
    return each(replies)

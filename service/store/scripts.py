"""The Lua scripts: loaded once from `lua/*.lua`, called by hash, loaded into the server when it lacks them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from service.core.errors import Unavailable
from service.store import client as store
from service.store.client import NoScript, Redis


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
ENLIST, CLAIM, RELEASE = load("enlist"), load("claim"), load("release")
BEAT, PULSE, REAP = load("beat"), load("pulse"), load("reap")
ALL = (APPEND, ACK, ENLIST, CLAIM, RELEASE, BEAT, PULSE, REAP)


Call = tuple[Script, Sequence[Any], Sequence[Any]]
"""A script, its KEYS and its ARGV."""


async def call_both(client: Redis, first: Call, second: Call) -> tuple[Any, Any]:
    """Two scripts down one connection, one behind the other, without waiting between them; not atomic.

    Raises Unavailable: either may have run.
    """
    commands = [("EVALSHA", script.sha, len(keys), *keys, *args) for script, keys, args in (first, second)]
    replies = await store.pipeline(client, commands)
    if any(isinstance(reply, NoScript) for reply in replies):
        for script, _, _ in (first, second):
            await store.run(client, "SCRIPT", "LOAD", script.text)
        replies = await store.pipeline(client, commands)
    for reply in replies:
        if isinstance(reply, Exception):
            raise Unavailable(f"{type(reply).__name__}: {reply}") from reply
    return replies[0], replies[1]


async def call(client: Redis, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
    """Runs a script; where the server does not know it, loads it and runs it then (nothing ran before).

    Raises Unavailable: the outcome is unknown.
    """
    try:
        return await store.run_large(client, "EVALSHA", script.sha, len(keys), *keys, *args)
    except NoScript:
        await store.run(client, "SCRIPT", "LOAD", script.text)
    try:
        return await store.run_large(client, "EVALSHA", script.sha, len(keys), *keys, *args)
    except NoScript as error:
        raise Unavailable("the server forgets scripts") from error

"""What the server says of itself, for `doctor` to judge: gathered in a few round trips."""

import time
from dataclasses import dataclass, field
from typing import Any

from service.core.errors import Unavailable
from service.ops.queries import Command, WorkerView
from service.store.link import Link
from service.store.scripts import ALL, Script

_WANTED = "append* no-appendfsync-on-rewrite maxmemory*"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server said. `config` is empty where CONFIG is not allowed (managed servers).

    `skew`: ms this host's clock is ahead of the server's, give or take `doubt`. `scripts`: name → `present`,
    `loaded` (it was not there and is now), or why the server does not take it. `login`: our name in its ACL.
    """

    info: dict[str, Any]
    config: dict[str, str]
    skew: int
    doubt: int
    login: str = "default"
    scripts: dict[str, str] = field(default_factory=dict)
    workers: list[WorkerView] = field(default_factory=list)


async def gather(client: Link, workers: list[WorkerView]) -> Facts:
    """Three round trips to one server; loads scripts that the server lacks, and changes nothing else."""
    sent = time.time()
    (now,) = await client.pipeline([("TIME",)])
    heard = time.time()
    commands: list[Command] = [("INFO", section) for section in ("server", "replication", "persistence", "memory")]
    commands += [("CONFIG", "GET", *_WANTED.split()), ("ACL", "WHOAMI")]
    *answers, config, login = await client.pipeline(commands)
    info: dict[str, Any] = {}
    for answer in answers:
        if isinstance(answer, Exception):
            raise Unavailable(f"INFO: {answer}") from answer
        info |= answer
    ahead = (sent + heard) / 2 - (now[0] + now[1] / 1e6)
    return Facts(
        info=info,
        config=_pairs(config),
        skew=round(ahead * 1000),
        doubt=round((heard - sent) * 500) + 1,
        login="default" if isinstance(login, Exception) else word(login),
        scripts=await _scripts(client),
        workers=workers,
    )


def _pairs(answer: Any) -> dict[str, str]:
    """CONFIG GET, as the flat list of RESP2 or the map of RESP3; empty where it was refused."""
    if isinstance(answer, dict):
        return {word(name): word(value) for name, value in answer.items()}
    if isinstance(answer, list | tuple):
        return {word(name): word(value) for name, value in zip(answer[::2], answer[1::2], strict=True)}
    return {}


def word(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


async def _scripts(client: Link, scripts: tuple[Script, ...] = ALL) -> dict[str, str]:
    (known,) = await client.pipeline([("SCRIPT", "EXISTS", *(script.sha for script in scripts))])
    if isinstance(known, Exception):
        return {script.name: word(known) for script in scripts}
    missing = [script for script, there in zip(scripts, known, strict=True) if not there]
    loads = await client.pipeline([("SCRIPT", "LOAD", script.text) for script in missing]) if missing else []
    found = {script.name: "present" for script in scripts}
    for script, answer in zip(missing, loads, strict=True):
        found[script.name] = str(answer) if isinstance(answer, Exception) else "loaded"
    return found

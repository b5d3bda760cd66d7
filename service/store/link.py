"""A link: one way to the store, whatever stands behind it, and the one place where Redis exceptions are translated.

`Single` leads to one server (or to the primary of a Sentinel group), `Cluster` to many. Both raise `Unavailable` where
the outcome is unknown, and never repeat by themselves a command that may have run.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from redis.exceptions import RedisError

from service.core.errors import Unavailable

Command = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """What must hold before an append counts: `WAIT` or `WAITAOF`, sent behind it down the same connection."""

    command: Command
    least: int

    def reached(self, reply: Any) -> bool:
        """`WAIT` answers a number of replicas; `WAITAOF` how many fsynced here, and there."""
        if isinstance(reply, Exception):
            return False
        return int(reply[0] if isinstance(reply, list) else reply) >= self.least


class Link(Protocol):
    """Commands go to where their first key lies; those without a key to any primary."""

    @property
    def many(self) -> bool:
        """Whether keys of different users may lie on different servers."""

    async def run(self, *command: Any) -> Any:
        """One command. Raises Unavailable."""

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """Several, in order as far as they go to one server, not atomic. A command's own error stands as an
        exception in its place. Raises Unavailable where the connection fails: any of them may have run.
        """

    async def exchange(self, commands: Sequence[Command], wait: Wait | None = None) -> list[Any]:
        """As `pipeline`, at a fraction of its cost (`wire.py`): replies are as the server sends them, a hash or an
        entry's fields as name, value, name, value … With `wait`, what did not get that far has `Unavailable` in its
        place. Where there are many servers, so has what was for one that cannot be reached.
        """

    async def primaries(self) -> "list[tuple[str, Link]]":
        """Every primary by its address, each for itself. Raises Unavailable."""

    async def aclose(self) -> None: ...


class Closable(Protocol):
    """Whatever has connections."""

    async def aclose(self) -> None: ...


async def all_closed(some: Iterable[Closable]) -> None:
    """Ends all of them, whatever one raises; the first of that is raised then."""
    for error in await asyncio.gather(*(one.aclose() for one in some), return_exceptions=True):
        if error is not None:
            raise error


@contextmanager
def translated() -> Iterator[None]:
    """Every failure to ask the server, or to hear its answer, becomes `Unavailable`."""
    try:
        yield
        # Before Python 3.12 `wait_for`, which redis-py uses, may swallow a cancel: then it must not go on here.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
    except (TimeoutError, RedisError, OSError) as error:
        raise unavailable(error) from error
    except RuntimeError as error:
        if not has_ended(error):
            raise
        raise unavailable(error) from error


def has_ended(error: RuntimeError) -> bool:
    """Whether this is what uvloop says to whoever writes into a connection that was reset just now."""
    return "the handler is closed" in str(error)


def unavailable(error: Exception) -> Unavailable:
    """The translation of one error."""
    return error if isinstance(error, Unavailable) else Unavailable(f"{type(error).__name__}: {error}")


def each(replies: Sequence[Any]) -> list[Any]:
    """Replies of which some may have failed: those have `Unavailable` in their place."""
    return [unavailable(reply) if isinstance(reply, Exception) else reply for reply in replies]


def unwrapped(replies: list[Any]) -> list[Any]:
    """Replies of which none may have failed. Raises Unavailable for the first that did."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise unavailable(reply)
    return replies

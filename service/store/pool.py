"""The connections of one link: made, authenticated and made again by redis-py, handed out without what its own pool
costs at each turn (a condition, a time-out, telemetry that nobody reads: a third of a call).
"""

import asyncio
from typing import Any

from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError


class Pool(ConnectionPool):
    """At most `max_connections`; beyond them callers wait, in turn."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._free = asyncio.Semaphore(self.max_connections)

    def renew(self) -> None:
        """Whoever they are connected to is no longer whom they are for: each is made anew when it is taken the next
        time. To close one that is in use would break whatever its user is just doing with it.
        """
        for connection in (*self._available_connections, *self._in_use_connections):
            connection.mark_for_reconnect()  # type: ignore[no-untyped-call]  # the library is typed in part

    async def get_connection(self, command_name: Any = None, *_: Any, **__: Any) -> Any:
        """One that is connected and has nothing to say, for the caller alone until it is given back. Raises redis-py's
        errors.
        """
        await self._free.acquire()
        try:
            connection = self.get_available_connection()  # type: ignore[no-untyped-call]  # as above
        except BaseException:
            self._free.release()
            raise
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def ensure_connection(self, connection: Any) -> None:
        """Before each use: as it was left, or connected again."""
        if connection.should_reconnect() or _is_broken(connection):
            await connection.disconnect(nowait=True)
        if not await _as_it_was_left(connection):
            await super().ensure_connection(connection)

    async def release(self, connection: Any) -> None:
        """Gives it back. Waits for nothing: nobody can be cancelled in here."""
        self._in_use_connections.remove(connection)
        self._available_connections.append(connection)
        self._free.release()


def _is_broken(connection: Any) -> bool:
    """It has ended with an error (a reset, a keep-alive that was not answered), which its own `is_connected` does not
    see, and which uvloop answers to the next write with a RuntimeError.
    """
    reader = connection._reader  # noqa: SLF001 - it has no other way to say so
    return reader is not None and reader.exception() is not None


async def _as_it_was_left(connection: Any) -> bool:
    """Connected, and nothing has come since: neither the end, nor an answer that nobody waited for."""
    try:
        return bool(connection.is_connected and not await connection.can_read())
    except RedisError:
        return False

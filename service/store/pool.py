"""The connections of one link: made, authenticated and made again by redis-py, handed out without what its own pool
costs at each turn (a condition, a time-out, telemetry that nobody reads: a third of a call).
"""

import asyncio
from typing import Any

from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError

CLOSED = "the pool is closed"


class Pool(ConnectionPool):
    """At most `max_connections`; beyond them callers wait, in turn. All that there are take turns: one that is used at
    busy times only would have been forgotten by the network when they come.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._free = asyncio.Semaphore(self.max_connections)
        self._working = 0  # connected, and somebody's
        self._returned = asyncio.Event()
        self._closed = False

    async def aclose(self) -> None:
        """Ends all. Whoever asks for one from now on, or waits for it, gets none: nobody would end it."""
        self._closed = True
        await super().aclose()

    def renew(self) -> None:
        """Whoever they are connected to is no longer whom they are for: each is made anew when it is taken the next
        time. To close one that is in use would break whatever its user is just doing with it.
        """
        for connection in (*self._available_connections, *self._in_use_connections):
            connection.mark_for_reconnect()  # type: ignore[no-untyped-call]  # the library is typed in part

    async def get_connection(self, command_name: Any = None, *_: Any, **__: Any) -> Any:
        """One that is connected and has nothing to say, for the caller alone until it is given back. Where the server
        takes no further one, it is waited for one that there is. Raises redis-py's errors.
        """
        while True:
            connection = await self._taken()
            try:
                await self.ensure_connection(connection)
            except BaseException as error:
                await connection.disconnect(nowait=True)  # it may have been connected while the pool was closed
                self._put_back(connection)
                if self._closed and isinstance(error, Exception):  # whatever the library makes of it
                    raise NoConnection(CLOSED) from error
                if not isinstance(error, RedisError | OSError) or not await self._another():
                    raise
            else:
                self._working += 1
                return connection

    async def _another(self) -> bool:
        """Whether there is one that is connected; returns once it is nobody's."""
        if any(connection.is_connected for connection in self._available_connections):
            return True
        if not self._working:
            return False
        self._returned.clear()
        return await self._returned.wait()

    async def _taken(self) -> Any:
        """That which is connected and idle for the longest time, else one to be connected."""
        await self._free.acquire()
        try:
            idle = self._available_connections
            for place, connection in enumerate(idle):
                if connection.is_connected:
                    idle.append(idle.pop(place))
                    break
            return self.get_available_connection()  # type: ignore[no-untyped-call]  # as above
        except BaseException:
            self._free.release()
            raise

    async def ensure_connection(self, connection: Any) -> None:
        """Before each use: as it was left, or connected again."""
        if connection.should_reconnect() or _is_broken(connection):
            await connection.disconnect(nowait=True)
        if not (self._closed or await _as_it_was_left(connection)):
            await super().ensure_connection(connection)
        if self._closed:
            raise NoConnection(CLOSED)

    async def release(self, connection: Any) -> None:
        """Gives it back. Waits for nothing: nobody can be cancelled in here."""
        if self._closed:
            await connection.disconnect(nowait=True)  # the library connects one again that is lost when it sends
        self._put_back(connection)
        self._working -= 1
        self._returned.set()

    def _put_back(self, connection: Any) -> None:
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

"""One server, or the primary of a Sentinel group."""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ReadOnlyError, RedisError

from service.core.errors import Unavailable
from service.store.link import Command, Link, Wait, translated
from service.store.wire import exchanged


class Single:
    """A link over one client, which has no retries of its own: a hidden one would append twice."""

    many = False

    def __init__(self, redis: Any, address: str = "") -> None:
        self.redis = redis
        self.address = address

    async def run(self, *command: Any) -> Any:
        with translated():
            return await self.raw(*command)

    async def raw(self, *command: Any) -> Any:
        """As `run`, with the client's own exceptions."""
        try:
            return await self.redis.execute_command(*command)
        except ReadOnlyError:
            self.renew()
            raise

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        with translated():
            return await self.raw_pipeline(commands)

    async def raw_pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """As `pipeline`, with the client's own exceptions."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            replies = list(await pipe.execute(raise_on_error=False))
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            self.renew()
        return replies

    async def exchange(self, commands: Sequence[Command], wait: Wait | None = None) -> list[Any]:
        with translated():
            return await self.raw_exchange(commands, wait)

    async def raw_exchange(self, commands: Sequence[Command], wait: Wait | None = None) -> list[Any]:
        """As `exchange`, with the client's own exceptions."""
        replies = await self.replies([*commands, wait.command] if wait else commands)
        if wait and not wait.reached(replies.pop()):
            replies = [reply if isinstance(reply, Exception) else Unavailable(SHORT) for reply in replies]
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            self.renew()
        return replies

    async def replies(self, commands: Sequence[Command]) -> list[Any]:
        """Down one connection, as the server sends them."""
        pool = self.redis.connection_pool
        connection = await pool.get_connection()
        try:
            return await exchanged(connection, commands)
        except (RedisError, OSError):
            self.renew()  # the others lead where it led, and may be as dead
            raise
        finally:
            await pool.release(connection)

    def renew(self) -> None:
        """What the name stood for may be a replica now, or gone: each connection looks again before it is used."""
        self.redis.connection_pool.renew()

    async def primaries(self) -> list[tuple[str, Link]]:
        return [(self.address, self)]

    async def aclose(self) -> None:
        await self.redis.aclose()


SHORT = "the durability asked for was not reached in time"

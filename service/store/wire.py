"""Questions and answers over one connection of redis-py.

The library makes a task for each write, and a time-out and three calls for each reply: more than all the rest of an
exchange. Here the bytes go straight into its stream, and replies come straight out of its parser, which is hiredis.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer

from service.store.link import Command, has_ended


async def exchanged(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """The reply to each, in order, as the server sends it; its own errors are values. Raises redis-py's errors, also
    where a reply took longer than the connection's `socket_timeout`.

    `connection` is connected and has nothing to say yet. Whatever is raised in here, a cancel too, it is closed then:
    answers may still be under way, and must not be taken for those of the next question.
    """
    try:
        await connection.check_health()  # a PING, where the URL asks for it
        async with asyncio.timeout(connection.socket_timeout) as patience:
            return await _exchanged(connection, commands, patience)
    except BaseException as error:
        await connection.disconnect(nowait=True)
        if isinstance(error, TimeoutError):
            raise NoAnswer(f"no answer within {connection.socket_timeout} s") from error
        if isinstance(error, RuntimeError) and has_ended(error):
            raise NoConnection(str(error)) from error
        raise


async def _exchanged(connection: Any, commands: Sequence[Command], patience: asyncio.Timeout) -> list[Any]:
    writer, parser = connection._writer, connection._parser  # noqa: SLF001 - this module is for that
    next_reply = parser._reader.gets  # noqa: SLF001
    writer.writelines([hiredis.pack_command(command) for command in commands])  # with the replies it is drained, too
    replies: list[Any] = []
    while len(replies) < len(commands):
        reply = next_reply()
        if reply is NOT_ENOUGH_DATA:
            await parser.read_from_socket()
        elif isinstance(reply, NoConnection):  # it is loading, wants a password, has too many clients …
            raise reply
        else:
            replies.append(reply)
            if connection.socket_timeout is not None and len(replies) < len(commands):
                patience.reschedule(asyncio.get_running_loop().time() + connection.socket_timeout)
    return replies

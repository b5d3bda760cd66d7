"""What tests of the client say to the scripted server, and read from the client."""

import asyncio

from inboxd_client import (
    InboxClient,
    Timing,
)

from scripts.lab.timing import PATIENCE
from tests.clients.scripted.server import ScriptedServer

QUICK = Timing(ack_delay=0.002, backoff_first=0.01, backoff_most=0.02)


def deliver(server: ScriptedServer, *ids: str) -> None:
    server.deliver("bob", *({"id": id, "from": "alice", "body": {"n": id}} for id in ids))


def witness(server: ScriptedServer, *ids: str) -> None:
    """What the application will have handled, once it has been connected, for the server's judgement of acks."""

    def handled() -> set[tuple[str, str, str]]:
        began = any(session.rules.welcomed for session in server.sessions)
        return {("message", "alice", id) for id in ids} if began else set()

    server.installation("bob", "phone").handled = handled


async def acked(server: ScriptedServer, number: int) -> None:
    await server.until(lambda: server.inboxes.of("bob").stored("phone").seq >= number, f"ack of {number}")


async def ids_of(client: InboxClient, count: int) -> list[str]:
    """The next messages; the last one is left unhandled."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        async for message in client:
            found.append(message.id)
            if len(found) == count:
                break
    return found

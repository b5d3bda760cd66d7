"""A bot that answers every message, each exactly once, however often it is killed.

    python bot.py http://127.0.0.1:8000 echo bot.sqlite3

The answer and the count are part of the transaction in which the message becomes handled: all of it, or none.
"""

import asyncio
import sys

from inboxd_client import InboxClient


async def main(url: str, user: str, path: str) -> None:
    async with InboxClient(url, user=user, storage=path) as client:
        client.on("state", lambda change: print(f"# {change.state}", flush=True))
        async with client.transaction() as db:
            await db.execute("CREATE TABLE IF NOT EXISTS counts (who TEXT PRIMARY KEY, messages INTEGER NOT NULL)")
        async for message in client:
            if message.sender == client.user:
                continue  # our own copy of what we sent
            async with client.handling(message) as db:
                ((count,),) = await db.execute(
                    "INSERT INTO counts VALUES (?, 1)"
                    " ON CONFLICT (who) DO UPDATE SET messages = messages + 1 RETURNING messages",
                    (message.sender,),
                )
                await db.send(message.sender, {"text": f"number {count} from you", "to": message.id})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

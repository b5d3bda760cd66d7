"""Groups in the delivery tests: sends and changes, and what every member has of them."""

import asyncio
import json
from typing import Any

from service.core.entries import Kind
from service.core.errors import Fault
from service.core.groups import GroupResult
from service.core.lane import Lane
from service.core.sending import Message, fingerprint
from service.delivery.fanout import Fanout
from service.delivery.worker import Worker
from service.store.groups import Change, Changed
from tests.delivery.rig import within

Answer = GroupResult | Fault


def said(id: str, sender: str = "alice", body: Any = "hi", **more: Any) -> Message:
    return Message(id, sender, (), json.dumps(body).encode(), fingerprint(body), **more)


def deletion(id: str, target: str, sender: str = "alice") -> Message:
    said_of = fingerprint([target, sender, None])
    return Message(id, sender, (), b"", said_of, kind=Kind.DELETE, target=target, target_from=sender)


def submit(fanout: Fanout, message: Message, group: str = "team", lane: Lane | None = None) -> asyncio.Future[Answer]:
    """Sends something into a group; what its sender is told."""
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    fanout.submit(group, message, answer.set_result, lane)
    return answer


async def send(worker: Worker, *messages: Message, group: str = "team") -> list[GroupResult]:
    answers = [submit(worker.fanout, message, group) for message in messages]
    results = await within(asyncio.gather(*answers), "answers")
    for result in results:
        assert isinstance(result, GroupResult), result
    return [result for result in results if isinstance(result, GroupResult)]


async def change(
    worker: Worker, what: str, *users: str, by: str = "alice", group: str = "team", **more: Any
) -> Changed:
    return await within(worker.fanout.change(Change(group, by, what, users, **more)), what)


async def has(store: Any, user: str, group: str = "team") -> list[str]:
    """What is in an inbox of a group, in order: `<number> <id or event>`."""
    rows = await store.xrange(f"chat:inbox:{{{user}}}")
    return [f"{f['seq']} {f.get('event') or f['id']}" for _, f in rows if f.get("group") == group]


async def opens(store: Any, group: str = "team") -> list[int]:
    """The numbers of fan-outs that are not ended."""
    return sorted(int(number) for number in await store.hkeys(f"chat:group:{{{group}}}:fanout"))

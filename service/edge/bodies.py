"""Request bodies: read within bounds, as JSON, as the model says. And sending, as HTTP does it."""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.types import Receive
from uuid_utils import uuid7

from service.core import strict_json
from service.core.cursor import Cursor
from service.core.errors import ClientError, Fault
from service.core.groups import GroupResult, group_outcome
from service.core.lane import Lane
from service.core.reading import validate
from service.core.sending import OUT_OF_ORDER, UNAVAILABLE, Appended, Message, Outcome, outcome
from service.delivery.worker import Worker
from service.edge import headers

Model = TypeVar("Model", bound=BaseModel)


def worker_of(request: Request) -> Worker:
    worker = request.app.state.worker
    assert isinstance(worker, Worker)
    return worker


async def read_json(request: Request, most: int) -> Any:
    """The body's value. Raises ClientError `unsupported_media_type`, `too_large`, `malformed_json`."""
    fields = dict(reversed(request.scope["headers"]))  # of one that is sent twice the first counts
    media = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media != b"application/json" and not (media.startswith(b"application/") and media.endswith(b"+json")):
        raise ClientError("unsupported_media_type", "send application/json")
    if fields.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        headers.add(request.scope, [("accept-encoding", "identity")])
        raise ClientError("unsupported_media_type", "send it as it is: compressed bodies are not taken")
    announced = fields.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > most:
        raise _too_large(most)
    return strict_json.loads(await _body(request.receive, most))


async def _body(receive: Receive, most: int) -> bytes:
    """All of it. Raises ClientError `too_large`, `malformed_json`."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientError("malformed_json", "the request broke off")
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _too_large(most: int) -> ClientError:
    return ClientError("too_large", f"at most {most} bytes are taken")


async def read_model(request: Request, model: type[Model], most: int) -> Model:
    """The body as `model`. Raises ClientError."""
    return validate(model, await read_json(request, most))


def cursor_of(text: str | None, field: str) -> Cursor | None:
    """What a parameter says. Raises ClientError `invalid_field`."""
    if text is None:
        return None
    try:
        return Cursor.parse(text)
    except ValueError as error:
        raise ClientError("invalid_field", f"{field}: {error}", field) from None


def new_id() -> str:
    """An id for a message whose sender gave none."""
    return str(uuid7())


Addressed = tuple[Message, str | None]
"""Something sent, and the group it goes to; None: to the users it names."""


async def commit(worker: Worker, message: Message, group: str | None = None) -> Outcome:
    """Sends one message and waits for what became of it."""
    return (await _UnderWay(worker, [(message, group)]).submit(None))[0]


async def commit_all(worker: Worker, messages: Sequence[Addressed]) -> list[Outcome]:
    """In order, over users and groups; after one with an unknown outcome the later ones are not tried."""
    lane = Lane()
    told: list[Outcome] = []
    for _, run in groupby(enumerate(messages), key=_together):
        if lane.failed:
            told += [Outcome(UNAVAILABLE.status, {}, UNAVAILABLE) for _ in run]
            continue
        told += await _UnderWay(worker, [addressed for _, addressed in run]).submit(lane)
    return told


def _together(one: tuple[int, Addressed]) -> tuple[str | None, int]:
    """What may be under way at once: all that go to users, or to one group; but a change of something sent to users
    stands alone, since its target may be what was sent before.
    """
    number, (message, group) = one
    return group, number if message.target and group is None else -1


class _UnderWay:
    """Messages of one request that are under way at once, and what becomes of them."""

    def __init__(self, worker: Worker, messages: Sequence[Addressed]) -> None:
        self._worker = worker
        self._messages = messages
        self._told: list[Outcome] = [_NOTHING] * len(messages)
        self._left = len(messages)
        self._all: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()

    async def submit(self, lane: Lane | None) -> list[Outcome]:
        worker = self._worker
        for n, (message, group) in enumerate(self._messages):
            if group is not None:
                worker.fanout.submit(group, message, partial(self._grouped, n), lane)
            elif message.target:
                await worker.changes.submit(message, partial(self._done, n), lane)
            else:
                worker.committer.submit(message, partial(self._done, n), lane)
        return await self._all

    def _done(self, n: int, results: Sequence[Appended] | Fault) -> None:
        self._tell(n, _outcome(self._worker, self._messages[n][0], results))

    def _grouped(self, n: int, result: GroupResult | Fault) -> None:
        message, group = self._messages[n]
        assert group is not None
        self._tell(n, _outcome_in(self._worker, message, group, result))

    def _tell(self, n: int, outcome: Outcome) -> None:
        self._told[n] = outcome
        self._left -= 1
        if not self._left and not self._all.done():  # its request may have been cancelled
            self._all.set_result(self._told)


_NOTHING = Outcome(0, {})


def _outcome(worker: Worker, message: Message, results: Sequence[Appended] | Fault) -> Outcome:
    if isinstance(results, Fault):
        fault = _known(results)
        return Outcome(fault.status, {}, fault)
    return outcome(message, results, worker.durability)


def _outcome_in(worker: Worker, message: Message, group: str, result: GroupResult | Fault) -> Outcome:
    result = _known(result) if isinstance(result, Fault) else result
    return group_outcome(message, group, result, worker.durability)


def _known(fault: Fault) -> Fault:
    """Order is the business of connections."""
    return UNAVAILABLE if fault is OUT_OF_ORDER else fault

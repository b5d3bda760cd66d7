"""Request bodies: read within bounds, as JSON, as the model says. And sending, as HTTP does it."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from uuid_utils import uuid7

from service.core import strict_json
from service.core.cursor import Cursor
from service.core.errors import ClientError, Fault
from service.core.frames import validate
from service.core.lane import Lane
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
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise ClientError("unsupported_media_type", "send application/json")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        headers.add(request.scope, [("accept-encoding", "identity")])
        raise ClientError("unsupported_media_type", "send it as it is: compressed bodies are not taken")
    too_large = ClientError("too_large", f"at most {most} bytes are taken")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > most:
        raise too_large
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise too_large
            parts.append(part)
    except ClientDisconnect:
        raise ClientError("malformed_json", "the request broke off") from None
    return strict_json.loads(b"".join(parts))


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


async def commit(worker: Worker, message: Message) -> Outcome:
    """Sends one message and waits for what became of it."""
    return (await commit_all(worker, [message]))[0]


async def commit_all(worker: Worker, messages: Sequence[Message]) -> list[Outcome]:
    """In order; after one with an unknown outcome the later ones are not tried."""
    loop, lane = asyncio.get_running_loop(), Lane()
    answers: list[asyncio.Future[Outcome]] = []
    for message in messages:
        answer: asyncio.Future[Outcome] = loop.create_future()
        answers.append(answer)

        def done(
            results: Sequence[Appended] | Fault,
            message: Message = message,
            answer: asyncio.Future[Outcome] = answer,
        ) -> None:
            if not answer.done():  # its request may have been cancelled
                answer.set_result(_outcome(worker, message, results))

        worker.committer.submit(message, done, lane)
    return [await answer for answer in answers]


def _outcome(worker: Worker, message: Message, results: Sequence[Appended] | Fault) -> Outcome:
    if isinstance(results, Fault):
        fault = UNAVAILABLE if results is OUT_OF_ORDER else results
        return Outcome(fault.status, {}, fault)
    return outcome(message, results, worker.durability)

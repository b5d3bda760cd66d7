"""`/v1/messages` and `/v1/inbox`: sending and receiving over HTTP."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import WithJsonSchema
from starlette.responses import Response

from service.core.cursor import Cursor
from service.core.entries import frame
from service.core.errors import ClientError
from service.core.frames import CursorText, History, Name, Send, Strict, validate
from service.core.identity import Identity
from service.core.sending import Outcome, message_of
from service.delivery.poll import poll
from service.delivery.worker import Worker
from service.edge.auth import Asking, AskingToSend, sender_of
from service.edge.bodies import Addressed, commit, commit_all, cursor_of, new_id, read_json, read_model, worker_of
from service.edge.openapi import (
    ASKING,
    BODY,
    COUNT,
    CURSOR,
    ENTRIES,
    FLAG,
    NAME,
    TEXT,
    answer,
    described,
    fields,
    list_of,
    problem_schema,
    problems,
)
from service.edge.problems import problem, problem_response
from service.edge.rates import Rates
from service.store.history import Asked
from service.store.inbox import AckStatus

router = APIRouter()

MOST_IN_BATCH = 1000
SMALL_BODY = 64 << 10
"""Bytes of a request that carries no message."""


RECIPIENTS = list_of(
    {"anyOf": [fields({"to": NAME, "cursor": CURSOR}, duplicate=FLAG), fields({"to": NAME, "error": TEXT})]}
)
ACCEPTED = {"id": TEXT, "from": NAME, "ts": COUNT, "duplicate": FLAG, "durability": TEXT, "recipients": RECIPIENTS}
SENDING = (*ASKING, *BODY, "rate_limited")
A_KEY = {"name": "Idempotency-Key", "in": "header", "description": "the id, where the body has none", "schema": TEXT}
AN_ITEMS = (
    "forbidden", "refused", "too_large", "invalid_field", "id_reused", "internal", "unavailable", "inbox_full",
)  # fmt: skip
A_PROBLEM = {"anyOf": [problem_schema((code,), recipients=RECIPIENTS) for code in AN_ITEMS]}
A_CURSOR = {"pattern": CURSOR["pattern"]}


class Batch(Strict):
    """Several messages; one bad item does not spoil the others."""

    messages: Annotated[list[Any], WithJsonSchema(list_of(Send.model_json_schema(by_alias=True)) | {"maxItems": 1000})]


class AckBody(Strict):
    """Everything up to `cursor` is handled by `device`."""

    device: Name
    cursor: CursorText


@router.post(
    "/v1/messages",
    status_code=202,
    tags=["sending"],
    openapi_extra=described(Send, "One message.") | {"parameters": [A_KEY]},
    responses=answer(202, "in the inbox of every recipient listed with a cursor", fields(ACCEPTED))
    | answer(200, "this id was accepted before", fields(ACCEPTED))
    | problems(*SENDING, "refused", "id_reused", "inbox_full", recipients=RECIPIENTS),
)
async def send_message(request: Request, asking: AskingToSend) -> Response:
    """Accepts a message into every recipient's inbox: 202 the first time, 200 for a repeat of the same id."""
    worker = worker_of(request)
    rates_of(request).admit(request, asking)
    send = await read_model(request, Send, worker.settings.max_frame)
    message, group = _message(worker, asking, send, request.headers.get("idempotency-key"))
    told = await commit(worker, message, group)
    if told.fault is not None:
        return problem_response(told.fault, **told.content)
    return _json(told.content, told.status)


@router.post(
    "/v1/messages/batch",
    tags=["sending"],
    openapi_extra=described(Batch, "Up to 1,000 messages."),
    responses=answer(
        200,
        "in the order of the messages",
        fields({"results": list_of({"anyOf": [fields(ACCEPTED | {"status": COUNT}), A_PROBLEM]})}),
    )
    | problems(*SENDING),
)
async def send_batch(request: Request, asking: AskingToSend) -> Response:
    """Each message as it would be alone, in order, with its status."""
    worker = worker_of(request)
    rates_of(request).admit(request, asking)
    messages, results = _batch(worker, asking, await read_json(request, worker.settings.max_batch_bytes))
    rates_of(request).charge(request, asking, len(results) - 1)
    outcomes = iter(await commit_all(worker, messages))
    return _json({"results": [result or _result(next(outcomes)) for result in results]})


@router.get(
    "/v1/inbox",
    tags=["receiving"],
    responses=answer(200, "frames in order", fields({"entries": ENTRIES, "cursor": CURSOR, "head": CURSOR}))
    | problems(*ASKING, "invalid_field", "too_many_devices", "too_many_connections"),
)
async def read_inbox(
    request: Request,
    asking: Asking,
    device: Annotated[str, Query(pattern=r"^[A-Za-z0-9._\-@:+]{1,128}$")],
    after: Annotated[str | None, Query(json_schema_extra=A_CURSOR)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    wait: Annotated[float, Query(ge=0, le=60)] = 0,
) -> Response:
    """Entries after `after` (absent: after the device's stored cursor); with `wait`, as soon as there is one."""
    worker = worker_of(request)
    polled = await poll(worker, asking.user, device, cursor_of(after, "after"), limit, wait)
    return _raw(
        b'{"entries":[' + b",".join(polled.frames) + f'],"cursor":"{polled.cursor}","head":"{polled.head}"}}'.encode()
    )


@router.post(
    "/v1/inbox/ack",
    status_code=204,
    tags=["receiving"],
    openapi_extra=described(AckBody, "An ack."),
    responses=problems(*ASKING, *BODY, "ack_beyond_head", "too_many_devices"),
)
async def ack_inbox(request: Request, asking: Asking) -> Response:
    """The device has handled everything up to the cursor. An older one than the last is ignored."""
    worker = worker_of(request)
    ack = await read_model(request, AckBody, SMALL_BODY)
    if await worker.presence.stored(asking.user, ack.device) is None:
        await worker.presence.register(asking.user, ack.device)  # there may be too many
    status = await worker.relay.ack(asking.user, ack.device, Cursor.parse(ack.cursor))
    if status is AckStatus.BEYOND_LAST:
        raise ClientError("ack_beyond_head", f"{ack.cursor} is beyond the newest entry", "cursor")
    if status is AckStatus.FAILED:
        raise ClientError("internal", "the ack could not be stored")
    return Response(status_code=204)


@router.get(
    "/v1/inbox/history",
    tags=["receiving"],
    responses=answer(200, "frames in the order asked for", fields({"entries": ENTRIES, "more": FLAG}))
    | problems(*ASKING, "invalid_field"),
)
async def read_history(
    request: Request,
    asking: Asking,
    before: Annotated[str | None, Query(json_schema_extra=A_CURSOR)] = None,
    after: Annotated[str | None, Query(json_schema_extra=A_CURSOR)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    peer: Annotated[str | None, Query(alias="with", pattern=r"^[A-Za-z0-9._\-@:+]{1,128}$")] = None,
    group: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9._\-@:+]{1,128}$")] = None,
) -> Response:
    """One page of one's own inbox: newest first, before a cursor; or oldest first, after one. `with` one user, of one
    `group`, or everything.
    """
    worker = worker_of(request)
    cursors = {"before": before, "after": after, "limit": limit}
    asked = validate(History, {"type": "history", "ref": "", **cursors, "with": peer, "group": group})
    entries, more = await worker.histories.read(asking.user, Asked.of(asked), worker.now_ms())
    frames = [frame(entry.tail, entry.cursor, replay=True) for entry in entries if isinstance(entry.tail, bytes)]
    return _raw(b'{"entries":[' + b",".join(frames) + (b'],"more":true}' if more else b'],"more":false}'))


def rates_of(request: Request) -> Rates:
    rates = request.app.state.rates
    assert isinstance(rates, Rates)
    return rates


def _batch(worker: Worker, asking: Identity, content: Any) -> tuple[list[Addressed], list[dict[str, Any] | None]]:
    """Its messages; and for each item a problem, or None. What the text weighed as objects (twenty times as much, at
    worst) is gone when this returns. Raises ClientError.
    """
    items = validate(Batch, content).messages
    if len(items) > MOST_IN_BATCH:
        raise ClientError("invalid_field", f"messages: at most {MOST_IN_BATCH} in one batch", "messages")
    results: list[dict[str, Any] | None] = []
    messages: list[Addressed] = []
    for item in items:
        try:
            messages.append(_message(worker, asking, validate(Send, item), None))
            results.append(None)
        except ClientError as error:
            results.append(problem(error.fault))
    return messages, results


def _message(worker: Worker, asking: Identity, send: Send, key: str | None) -> Addressed:
    """Raises ClientError."""
    if key is not None:
        key = key.strip('"')  # the draft's form is a quoted string; a bare one is meant the same
        if send.id is not None and send.id != key:
            raise ClientError("invalid_field", "id and Idempotency-Key differ", "id")
        send = validate(Send, {**send.model_dump(by_alias=True, exclude_none=True, exclude={"body"}),
                               "id": key, "body": send.body})  # fmt: skip
    message = message_of(send, sender_of(asking, send.sender), send.id or new_id(), worker.settings.max_body)
    return message, send.group


def _result(told: Outcome) -> dict[str, Any]:
    if told.fault is not None:
        return problem(told.fault, **told.content)
    return {**told.content, "status": told.status}


def _json(content: Any, status: int = 200) -> Response:
    return _raw(orjson.dumps(content), status)


def _raw(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type="application/json")

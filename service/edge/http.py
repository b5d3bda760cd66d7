"""`/v1/messages` and `/v1/inbox`: sending and receiving over HTTP."""

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import WithJsonSchema
from starlette.responses import Response

from service.core.cursor import Cursor
from service.core.entries import frame
from service.core.errors import ClientError
from service.core.frames import CursorText, Delete, Edit, History, Name, React, Send, Strict
from service.core.identity import Identity
from service.core.reading import validate
from service.core.sending import Outcome, change_of, message_of
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
CARRYING = ("/v1/messages", "/v1/messages/batch")
"""Routes that `Express` reaches, too: no parameters of theirs may be declared but the request and who asks."""


RECIPIENTS = list_of(
    {"anyOf": [fields({"to": NAME, "cursor": CURSOR}, duplicate=FLAG), fields({"to": NAME, "error": TEXT})]}
)
ACCEPTED = {"id": TEXT, "from": NAME, "ts": COUNT, "duplicate": FLAG, "durability": TEXT, "recipients": RECIPIENTS}
IN_A_GROUP = {**ACCEPTED, "group": NAME, "seq": COUNT, "members": COUNT}
del IN_A_GROUP["recipients"]
SENT = {"anyOf": [fields(ACCEPTED), fields(IN_A_GROUP, refused=COUNT)]}
SENDING = (*ASKING, *BODY, "rate_limited")
A_KEY = {"name": "Idempotency-Key", "in": "header", "description": "the id, where the body has none", "schema": TEXT}
AN_ITEMS = (
    "forbidden", "refused", "no_such_group", "no_such_message", "too_large", "invalid_field", "id_reused", "internal",
    "unavailable", "inbox_full",
)  # fmt: skip
RESULTS = [fields(ACCEPTED | {"status": COUNT}), fields(IN_A_GROUP | {"status": COUNT}, refused=COUNT)]
A_PROBLEM = {"anyOf": [problem_schema((code,), recipients=RECIPIENTS) for code in AN_ITEMS]}
A_CURSOR = {"pattern": CURSOR["pattern"]}


class SendBody(Send):
    """A message; `type` may say so."""

    type: Literal["send"] = "send"


BODIES: dict[str, type[SendBody | Edit | Delete | React]] = {
    "send": SendBody, "edit": Edit, "delete": Delete, "react": React,
}  # fmt: skip
ANY_BODY = {"anyOf": [model.model_json_schema(by_alias=True) for model in BODIES.values()]}


class Batch(Strict):
    """Several of what can be sent; one bad item does not spoil the others."""

    messages: Annotated[list[Any], WithJsonSchema(list_of(ANY_BODY) | {"maxItems": 1000})]


class AckBody(Strict):
    """Everything up to `cursor` is handled by `device`."""

    device: Name
    cursor: CursorText


@router.post(
    "/v1/messages",
    status_code=202,
    tags=["sending"],
    openapi_extra=described(ANY_BODY, "One message; or an edit, a deletion or a reaction.") | {"parameters": [A_KEY]},
    responses=answer(202, "in the inbox of every recipient listed with a cursor, or of every member", SENT)
    | answer(200, "this id was accepted before", SENT)
    | problems(
        *SENDING, "refused", "no_such_group", "no_such_message", "id_reused", "inbox_full", recipients=RECIPIENTS
    ),
)
async def send_message(request: Request, asking: AskingToSend) -> Response:
    """Accepts a message into every recipient's inbox: 202 the first time, 200 for a repeat of the same id."""
    worker = worker_of(request)
    rates_of(request).admit(request, asking)
    content = await read_json(request, worker.settings.max_frame)
    message, group = _message(worker, asking, content, request.headers.get("idempotency-key"))
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
        fields({"results": list_of({"anyOf": [*RESULTS, A_PROBLEM]})}),
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
    return Json(
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
    return Json(b'{"entries":[' + b",".join(frames) + (b'],"more":true}' if more else b'],"more":false}'))


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
            messages.append(_message(worker, asking, item, None))
            results.append(None)
        except ClientError as error:
            results.append(problem(error.fault))
    return messages, results


def _message(worker: Worker, asking: Identity, content: Any, key: str | None) -> Addressed:
    """Raises ClientError."""
    asked = validate(_body_of(content), _with_id(content, key))
    sender, most = sender_of(asking, asked.sender), worker.settings.max_body
    if isinstance(asked, SendBody):
        return message_of(asked, sender, asked.id or new_id(), most), asked.group
    return change_of(asked, sender, most), asked.group


def _body_of(content: Any) -> type[SendBody | Edit | Delete | React]:
    kind = content.get("type", "send") if isinstance(content, dict) else "send"
    model = BODIES.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise ClientError("invalid_field", f"type: one of {', '.join(BODIES)}", "type")
    return model


def _with_id(content: Any, key: str | None) -> Any:
    """What was asked, under the id that its header names, or under one of ours. Raises ClientError."""
    if not isinstance(content, dict):
        return content
    given = content.get("id")
    if key is None:
        return content if given is not None else content | {"id": new_id()}
    key = key.strip('"')  # the draft's form is a quoted string; a bare one is meant the same
    if given is not None and given != key:
        raise ClientError("invalid_field", "id and Idempotency-Key differ", "id")
    return content | {"id": key}


def _result(told: Outcome) -> dict[str, Any]:
    if told.fault is not None:
        return problem(told.fault, **told.content)
    return {**told.content, "status": told.status}


def _json(content: Any, status: int = 200) -> Response:
    return Json(orjson.dumps(content), status)


class Json(Response):
    """JSON that is there as bytes: no more fields than these two, and nobody looks for them one by one."""

    media_type = "application/json"

    def __init__(self, content: bytes, status: int = 200) -> None:
        self.status_code = status
        self.body = content
        self.background = None
        self.raw_headers = [(b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")]

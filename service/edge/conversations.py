"""`/v1/conversations` and `/v1/inbox/read`: what there is to read, and what was."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.core.entries import frame
from service.core.frames import ReadUpto
from service.edge.auth import Asking
from service.edge.bodies import read_model, worker_of
from service.edge.http import rates_of
from service.edge.openapi import ASKING, BODY, COUNT, NAME, TEXT, answer, described, fields, list_of, maybe, problems
from service.store.conversations import Talk

router = APIRouter(tags=["receiving"])

READ_BYTES = 64 << 10
A_FRAME = {"type": "object", "required": ["type", "cursor"]}
OF_USER = fields({"with": NAME, "last": A_FRAME, "unread": COUNT, "read_upto": maybe(TEXT)})
OF_GROUP = fields({"group": NAME, "last": A_FRAME, "unread": COUNT, "read_upto": maybe(COUNT)})


@router.get(
    "/v1/conversations",
    responses=answer(200, "newest first", fields({"conversations": list_of({"anyOf": [OF_USER, OF_GROUP]})}))
    | problems(*ASKING, "rate_limited", "invalid_field"),
)
async def read_conversations(
    request: Request, asking: Asking, limit: Annotated[int, Query(ge=1, le=200)] = 100
) -> Response:
    """Whom one talks with, the last message of each, and how many are unread."""
    worker = worker_of(request)
    rates_of(request).admit(request, asking)  # it may look through a whole inbox
    talks = await worker.conversations.of(asking.user, limit, worker.now_ms())
    return Response(b'{"conversations":[' + b",".join(map(_told, talks)) + b"]}", media_type="application/json")


@router.post(
    "/v1/inbox/read",
    status_code=204,
    openapi_extra=described(ReadUpto, "Up to a message of a user, or a number in a group."),
    responses=problems(*ASKING, "rate_limited", *BODY, "no_such_message", "no_such_group"),
)
async def read_upto(request: Request, asking: Asking) -> Response:
    """Everything up to there is read: the sender hears of it, and one's own devices do. 204 once that is stored."""
    worker = worker_of(request)
    rates_of(request).admit(request, asking)  # an id that is not known is looked for everywhere
    await worker.reads.take(asking.user, await read_model(request, ReadUpto, READ_BYTES))
    return Response(status_code=204)


def _told(talk: Talk) -> bytes:
    upto: str | int | None = talk.read.what if talk.read is not None else None
    if talk.group and upto is not None:
        upto = int(upto)
    named = {"group": talk.group} if talk.group else {"with": talk.peer}
    counted = orjson.dumps({**named, "unread": talk.unread, "read_upto": upto})
    return counted[:-1] + b',"last":' + frame(talk.tail, talk.last, replay=True) + b"}"

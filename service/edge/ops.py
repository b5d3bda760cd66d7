"""`/v1/ops/*`: what operators ask and tell, over HTTP."""

from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from service.core import strict_json
from service.core.errors import ClientError
from service.core.frames import Strict
from service.delivery.worker import Worker
from service.edge.auth import AskingToOperate, check_name
from service.edge.bodies import read_json, worker_of
from service.edge.openapi import (
    ASKING,
    BODY,
    COUNT,
    CURSOR,
    NAME,
    TEXT,
    answer,
    described,
    fields,
    list_of,
    maybe,
    problems,
)
from service.ops import queries
from service.store.worker_stream import BROADCAST, KICK

router = APIRouter(prefix="/v1/ops", tags=["operators"])

BROADCAST_BYTES = 64 << 10


User = Annotated[str, Path(json_schema_extra=NAME)]
WORKER = {"host": maybe(TEXT), "pid": maybe(COUNT), "version": maybe(TEXT), "connections": maybe(COUNT),
          "heartbeat_age_ms": maybe(COUNT), "lag": maybe(COUNT)}  # fmt: skip
DEVICE = {"device": NAME, "cursor": CURSOR, "behind": COUNT, "last_seen": maybe(COUNT), "worker": maybe(TEXT)}
INBOX = {"user": NAME, "last": CURSOR, "floor": CURSOR, "length": COUNT, "pending": COUNT,
         "devices": list_of(fields(DEVICE))}  # fmt: skip


class Broadcast(Strict):
    """To whoever is online."""

    body: Any


@router.get(
    "/workers",
    responses=answer(200, "by name", fields({"workers": list_of(fields({"worker": TEXT} | WORKER))}))
    | problems(*ASKING),
)
async def workers(request: Request, asking: AskingToOperate) -> Response:
    """The living workers: who they are, what they hold, how fresh their heartbeat is."""
    worker = worker_of(request)
    rows = await queries.workers(worker.clients.rest, worker.keys)
    return _json({"workers": [asdict(row) for row in rows]})


@router.get(
    "/inboxes/{user}",
    responses=answer(200, "as it stands", fields(INBOX)) | problems(*ASKING, "not_found", "invalid_field"),
)
async def inbox(request: Request, asking: AskingToOperate, user: User) -> Response:
    """How an inbox stands, and each of its devices."""
    worker = worker_of(request)
    view = await queries.inbox(worker.clients.rest, worker.keys, check_name(user, "user"))
    if view is None:
        raise ClientError("not_found", "this user has no inbox yet")
    return _json(asdict(view))


@router.post(
    "/broadcast",
    status_code=202,
    openapi_extra=described(Broadcast, "Any JSON value."),
    responses=answer(202, "on its way", fields({})) | problems(*ASKING, *BODY),
)
async def broadcast(request: Request, asking: AskingToOperate) -> Response:
    """A frame without a cursor to everybody who is online, at most once."""
    worker = worker_of(request)
    content = await read_json(request, BROADCAST_BYTES)
    if not isinstance(content, dict) or set(content) != {"body"}:
        raise ClientError("invalid_field", "body is the one field", "body")
    await _tell_all(worker, BROADCAST, strict_json.compact(content["body"], BROADCAST_BYTES))
    return _json({}, 202)


@router.delete("/connections/{user}", status_code=204, responses=problems(*ASKING, "not_found", "invalid_field"))
async def kick(
    request: Request,
    asking: AskingToOperate,
    user: User,
    device: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9._\-@:+]{1,128}$")] = None,
) -> Response:
    """Closes a user's sockets (4510), or those of one device."""
    worker = worker_of(request)
    name = check_name(user, "user")
    await _tell_all(worker, KICK, f"{name}/{device}" if device else name)
    return Response(status_code=204)


async def _tell_all(worker: Worker, control: str, value: str | bytes) -> None:
    """Every living worker, this one too, through its stream. Raises Unavailable."""
    for name, counter in (await worker.presence.counters()).items():
        if counter != "dead":
            await worker.streams.tell(name, control, value)


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")

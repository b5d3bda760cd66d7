"""`/v1/presence`: who is online now. Over a WebSocket `watch` tells it, and goes on telling."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from service.core.errors import ClientError
from service.core.frames import MAX_WATCHED
from service.edge.auth import AskingToSend, check_name
from service.edge.bodies import worker_of
from service.edge.openapi import ASKING, COUNT, NAME, answer, fields, list_of, maybe, problems
from service.store.watchers import Standing

router = APIRouter(prefix="/v1/presence", tags=["around a message"])

STANDING = fields({"user": NAME, "status": {"enum": ["online", "offline"]}, "last_seen": maybe(COUNT)})
NAMES = {"maxItems": MAX_WATCHED, "items": NAME}


@router.get("/{user}", responses=answer(200, "now", STANDING) | problems(*ASKING, "invalid_field"))
async def presence(
    request: Request, asking: AskingToSend, user: Annotated[str, Path(json_schema_extra=NAME)]
) -> Response:
    """Whether a user is online, and when a device of theirs was last seen (ms). Who blocks you looks offline."""
    check_name(user, "user")
    (standing,) = await worker_of(request).watchers.standings([user], asking.user)
    return _json(_told(user, standing))


@router.get(
    "",
    responses=answer(200, "in the order of the question", fields({"presence": list_of(STANDING)}))
    | problems(*ASKING, "invalid_field"),
)
async def presences(
    request: Request,
    asking: AskingToSend,
    user: Annotated[list[str], Query(json_schema_extra=NAMES)],
) -> Response:
    """The same of up to 200 users."""
    if len(user) > MAX_WATCHED:
        raise ClientError("invalid_field", f"user: at most {MAX_WATCHED} at once", "user")
    for name in user:
        check_name(name, "user")
    standings = await worker_of(request).watchers.standings(user, asking.user)
    return _json({"presence": [_told(name, one) for name, one in zip(user, standings, strict=True)]})


def _told(user: str, standing: Standing) -> dict[str, Any]:
    return {"user": user, "status": "online" if standing.online else "offline", "last_seen": standing.last_seen}


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")

"""`/v1/blocks`: whose messages and signals one does not want, and who is not to see whether one is online."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from service.core.errors import ClientError
from service.edge.auth import Asking, check_name
from service.edge.bodies import worker_of
from service.edge.openapi import ASKING, NAME, answer, fields, list_of, problems

router = APIRouter(prefix="/v1/blocks", tags=["around a message"])

Whom = Annotated[str, Path(json_schema_extra=NAME)]


@router.put("/{user}", status_code=204, responses=problems(*ASKING, "invalid_field", "too_many_blocks"))
async def block(request: Request, asking: Asking, user: Whom) -> Response:
    """From here on sends of this user to oneself are refused. Messages to a group that both are in go on."""
    if check_name(user, "user") == asking.user:
        raise ClientError("invalid_field", "user: nobody blocks themselves", "user")
    await worker_of(request).blocks.block(asking.user, user)
    return Response(status_code=204)


@router.delete("/{user}", status_code=204, responses=problems(*ASKING, "invalid_field"))
async def unblock(request: Request, asking: Asking, user: Whom) -> Response:
    """Also where nothing was blocked."""
    await worker_of(request).blocks.unblock(asking.user, check_name(user, "user"))
    return Response(status_code=204)


@router.get("", responses=answer(200, "in the order of names", fields({"blocks": list_of(NAME)})) | problems(*ASKING))
async def blocks(request: Request, asking: Asking) -> Response:
    """Whom one has blocked."""
    found = await worker_of(request).blocks.of(asking.user)
    return Response(orjson.dumps({"blocks": found}), media_type="application/json")

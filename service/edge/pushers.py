"""`/v1/pushers/{device}`: where a device can be reached by a push gateway while it is not connected."""

import time
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request
from pydantic import Field, StringConstraints
from starlette.responses import Response

from service.core import strict_json
from service.core.errors import ClientError
from service.core.frames import Strict
from service.edge.auth import Asking, check_name
from service.edge.bodies import read_model, worker_of
from service.edge.openapi import ASKING, BODY, NAME, TEXT, answer, described, fields, problems
from service.store.pushers import Pusher

router = APIRouter(prefix="/v1/pushers", tags=["push"])

MOST_BYTES = 8192
DATA_BYTES = 1024

Device = Annotated[str, Path(json_schema_extra=NAME)]
PUSHER = {"device": NAME, "app_id": TEXT, "pushkey": TEXT, "data": {"type": "object"}}


class Registered(Strict):
    """As the Matrix Push Gateway API names a device."""

    app_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    pushkey: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    data: dict[str, Any] = Field(default_factory=dict)


@router.put(
    "/{device}",
    status_code=204,
    openapi_extra=described(Registered, "What the gateway is told of this device. `data`: up to 1 KiB as JSON."),
    responses=problems(*ASKING, *BODY, "not_found", "too_many_devices"),
)
async def register(request: Request, asking: Asking, device: Device) -> Response:
    """In place of what was registered for this device before. 404 where the service speaks to no gateway."""
    worker, name = worker_of(request), check_name(device, "device")
    if worker.settings.push_url is None or worker.settings.push_format != "matrix":
        raise ClientError("not_found", "this service tells no push gateway of anything")
    sent = await read_model(request, Registered, MOST_BYTES)
    data = orjson.loads(strict_json.compact(sent.data, DATA_BYTES))
    await worker.pushing.pushers.put(asking.user, name, Pusher(sent.app_id, sent.pushkey, data, int(time.time())))
    await worker.pushing.expect(asking.user)
    return Response(status_code=204)


@router.get(
    "/{device}",
    responses=answer(200, "as it was registered", fields(PUSHER)) | problems(*ASKING, "not_found", "invalid_field"),
)
async def registered(request: Request, asking: Asking, device: Device) -> Response:
    """Until it is deleted, or the gateway has rejected it."""
    found = await worker_of(request).pushing.pushers.get(asking.user, check_name(device, "device"))
    if found is None:
        raise ClientError("not_found", "this device has no pusher")
    told = {"device": device, **asdict(found)}
    del told["since"]
    return Response(orjson.dumps(told), media_type="application/json")


@router.delete("/{device}", status_code=204, responses=problems(*ASKING, "invalid_field"))
async def forget(request: Request, asking: Asking, device: Device) -> Response:
    """Also where nothing was registered."""
    await worker_of(request).pushing.pushers.delete(asking.user, check_name(device, "device"))
    return Response(status_code=204)

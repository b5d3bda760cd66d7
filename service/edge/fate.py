"""`GET /v1/messages/{id}`: what became of a message, for senders without a connection."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from service.core.errors import ClientError
from service.core.frames import MAX_RECIPIENTS
from service.core.identity import OPS, SEND_ANY, Identity
from service.delivery.worker import Worker
from service.edge.auth import ANYBODY
from service.edge.bodies import worker_of
from service.edge.openapi import ASKING, COUNT, CURSOR, NAME, TEXT, answer, fields, list_of, maybe, problems
from service.store.fates import Fate, State

router = APIRouter()

NAME_PATTERN = r"^[A-Za-z0-9._\-@:+]{1,128}$"
TIME = maybe(COUNT)
RECIPIENT = {"to": NAME, "cursor": CURSOR, "state": {"enum": [str(state) for state in State]}, "accepted_at": COUNT,
             "delivered_at": TIME, "read_at": TIME, "devices": list_of(NAME)}  # fmt: skip
FATE = fields({"id": TEXT, "from": NAME, "recipients": list_of(fields(RECIPIENT))})
Recipient = Annotated[str, Query(pattern=NAME_PATTERN)]


@router.get(
    "/v1/messages/{id}",
    tags=["sending"],
    responses=answer(200, "at each recipient that knows it", FATE)
    | problems(*ASKING, "no_such_message", "invalid_field"),
)
async def read_fate(
    request: Request,
    asking: Annotated[Identity, Depends(ANYBODY)],
    id: Annotated[str, Path(pattern=r"^[A-Za-z0-9._\-@:+]{1,64}$")],
    sender: Annotated[str | None, Query(alias="from", pattern=NAME_PATTERN)] = None,
    to: Annotated[list[Recipient], Query(max_length=MAX_RECIPIENTS)] = [],  # noqa: B006 - never changed
) -> Response:
    """For the sender and recipients, backends and operators. `from`: absent, oneself; `to`: absent, whom the sender's
    own copy names.
    """
    worker = worker_of(request)
    author = sender or asking.user
    users = await _recipients(worker, asking, author, id, list(dict.fromkeys(to)))
    found = [await worker.fates.of(user, author, id, worker.now_ms()) for user in users]
    known = [_told(fate) for fate in found if fate is not None]
    if not known:
        raise ClientError("no_such_message", "id: no such message is known at any recipient, or no more", "id")
    return Response(orjson.dumps({"id": id, "from": author, "recipients": known}), media_type="application/json")


async def _recipients(worker: Worker, asking: Identity, author: str, id: str, named: list[str]) -> list[str]:
    """Whose inboxes to look into. Raises ClientError `forbidden`."""
    everybody = author == asking.user or asking.may(OPS, SEND_ANY)
    if named:
        if not everybody and named != [asking.user]:
            raise ClientError("forbidden", "only the sender may ask what became of it at others")
        return named
    users = list(await worker.fates.recipients(author, id)) if everybody else []
    return users or [asking.user]


def _told(fate: Fate) -> dict[str, Any]:
    return {
        "to": fate.to,
        "cursor": str(fate.cursor),
        "state": fate.state,
        "accepted_at": fate.cursor.ms,
        "delivered_at": fate.delivered_at,
        "read_at": fate.read_at,
        "devices": fate.devices,
    }

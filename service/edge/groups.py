"""`/v1/groups`: making groups, changing who is in them, and how far their members have got."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request
from pydantic import Field, StringConstraints
from starlette.responses import Response

from service.core.errors import ClientError
from service.core.frames import Name, Strict
from service.core.identity import SEND_ANY, Identity
from service.delivery.worker import Worker
from service.edge.auth import Asking, AskingToSend, check_name
from service.edge.bodies import read_model, worker_of
from service.edge.http import rates_of
from service.edge.openapi import (
    ASKING,
    BODY,
    COUNT,
    NAME,
    TEXT,
    answer,
    described,
    fields,
    list_of,
    maybe,
    problems,
)
from service.store.groups import Change, Changed, GroupView
from service.store.marks import Mark

router = APIRouter(prefix="/v1/groups", tags=["groups"])

LONGEST_NAME = 256
"""Characters."""


class GroupBody(Strict):
    """A group as it shall be. `members`: its owner is one of them in any case; `name` absent: stays as it is."""

    members: Annotated[list[Name], Field(default_factory=list)]
    name: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME)] | None = None


Of = Annotated[str, Path(json_schema_extra=NAME)]
Whom = Annotated[str, Path(json_schema_extra=NAME)]
ABOUT = {"group": NAME, "name": maybe(TEXT), "owner": NAME}
GROUP = fields(ABOUT | {"members": list_of(NAME), "created_at": COUNT})
MARK = maybe(fields({"seq": COUNT, "at": COUNT}))
CHANGING = (*ASKING, "rate_limited", "invalid_field", "no_such_group")


@router.put(
    "/{group}",
    openapi_extra=described(GroupBody, "The members and the name it shall have."),
    responses=answer(201, "it is new, and who asked owns it", GROUP)
    | answer(200, "it has these members now", GROUP)
    | problems(*CHANGING, *BODY[:-1], "refused", "group_full"),
)
async def put_group(request: Request, asking: AskingToSend, group: Of) -> Response:
    """Creates a group; or, for its owner, replaces its members and name: every change is an entry of all members."""
    worker, name = worker_of(request), check_name(group, "group")
    rates_of(request).admit(request, asking)
    body = await read_model(request, GroupBody, worker.settings.max_frame)
    users = tuple(dict.fromkeys(body.members))
    if len(users) > worker.settings.max_group:
        raise ClientError("group_full", f"a group has at most {worker.settings.max_group} members", "members")
    view = await _unblocked(worker, asking, name, users)
    rates_of(request).charge(request, asking, _changes(view, users, body.name) - 1)  # before: it may take long
    changed = await _change(request, asking, Change(name, asking.user, "put", users, body.name))
    view = await worker.groups.view(name)
    if view is None:
        raise ClientError("no_such_group", "the group was deleted meanwhile", "group")
    return _json(_shown(view), 201 if changed.created else 200)


@router.get("", responses=answer(200, "by name", fields({"groups": list_of(fields(ABOUT | {"members": COUNT}))}))
            | problems(*ASKING))  # fmt: skip
async def own_groups(request: Request, asking: Asking) -> Response:
    """The groups one is a member of; `members` is their number."""
    rows = await worker_of(request).groups.of_user(asking.user)
    shown = [{"group": row.group, "name": row.name, "owner": row.owner, "members": row.members} for row in rows]
    return _json({"groups": shown})


@router.get(
    "/{group}", responses=answer(200, "as it stands", GROUP) | problems(*ASKING, "invalid_field", "no_such_group")
)
async def get_group(request: Request, asking: AskingToSend, group: Of) -> Response:
    """A group one is a member of; its members, the longest-standing first."""
    return _json(_shown(await _seen(worker_of(request), asking, check_name(group, "group"))))


@router.get(
    "/{group}/marks",
    responses=answer(
        200, "by member", fields({"marks": list_of(fields({"user": NAME, "delivered": MARK, "read": MARK}))})
    )
    | problems(*ASKING, "invalid_field", "no_such_group"),
)
async def group_marks(request: Request, asking: AskingToSend, group: Of) -> Response:
    """How far each member has got what was sent to the group, and read it; null where nothing is known."""
    worker = worker_of(request)
    view = await _seen(worker, asking, check_name(group, "group"))
    marks = await worker.groups.marks(view.group, view.members)
    rows = zip(view.members, marks, strict=True)
    shown = [{"user": user, "delivered": _mark(got), "read": _mark(read)} for user, (got, read) in rows]
    return _json({"marks": shown})


@router.delete("/{group}", status_code=204, responses=problems(*CHANGING))
async def delete_group(request: Request, asking: AskingToSend, group: Of) -> Response:
    """For its owner. What was sent stays in the inboxes."""
    rates_of(request).admit(request, asking)
    await _change(request, asking, Change(check_name(group, "group"), asking.user, "delete"))
    return Response(status_code=204)


@router.put("/{group}/members/{user}", status_code=204, responses=problems(*CHANGING, "refused", "group_full"))
async def add_member(request: Request, asking: AskingToSend, group: Of, user: Whom) -> Response:
    """For its owner. The new member gets what comes from here on. Also where it is one already."""
    name, whom = check_name(group, "group"), check_name(user, "user")
    rates_of(request).admit(request, asking)
    await _unblocked(worker_of(request), asking, name, (whom,))
    await _change(request, asking, Change(name, asking.user, "join", (whom,)))
    return Response(status_code=204)


@router.delete("/{group}/members/{user}", status_code=204, responses=problems(*CHANGING))
async def remove_member(request: Request, asking: AskingToSend, group: Of, user: Whom) -> Response:
    """For its owner; anybody may leave. When the owner leaves, the longest-standing member is owner; the last to leave
    deletes the group.
    """
    name, whom = check_name(group, "group"), check_name(user, "user")
    rates_of(request).admit(request, asking)
    await _change(request, asking, Change(name, asking.user, "leave", (whom,)))
    return Response(status_code=204)


async def _change(request: Request, asking: Identity, change: Change) -> Changed:
    """Raises Unavailable, ClientError."""
    worker = worker_of(request)
    if asking.may(SEND_ANY):
        change = Change(change.group, change.by, change.what, change.users, change.name, any_group=True)
    return await worker.fanout.change(change)


def _changes(view: GroupView | None, users: Sequence[str], name: str | None) -> int:
    """How many entries it takes until the group has these members and this name."""
    if view is None:
        return 1
    wanted = {view.owner, *users}
    return len(wanted.symmetric_difference(view.members)) + (name not in (None, view.name))


async def _seen(worker: Worker, asking: Identity, group: str) -> GroupView:
    """Raises ClientError `no_such_group` also for who is no member: nothing is said about others' groups."""
    view = await worker.groups.view(group)
    if view is None or not (asking.user in view.members or asking.may(SEND_ANY)):
        raise ClientError("no_such_group", "no group of this name has you as a member", "group")
    return view


async def _unblocked(worker: Worker, asking: Identity, group: str, users: Iterable[str]) -> GroupView | None:
    """The group as it stands. Nobody is put into one by whom they have blocked. Raises ClientError `refused`, and what
    the change would.
    """
    view = await worker.groups.view(group)
    if view is not None and not asking.may(SEND_ANY):
        if asking.user not in view.members:
            raise ClientError("no_such_group", "no group of this name has you as a member", "group")
        if asking.user != view.owner:
            raise ClientError("forbidden", "only the group's owner may do this")
    there = {asking.user, *(view.members if view else ())}
    blocked = await worker.groups.blocked(asking.user, [user for user in users if user not in there])
    if blocked:
        raise ClientError("refused", f"{blocked[0]} has blocked {asking.user}", "members")
    return view


def _shown(view: GroupView) -> dict[str, Any]:
    return {
        "group": view.group,
        "name": view.name,
        "owner": view.owner,
        "members": list(view.members),
        "created_at": view.created_at,
    }


def _mark(mark: Mark | None) -> dict[str, int] | None:
    return None if mark is None else {"seq": int(mark.what), "at": mark.at_ms}


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")

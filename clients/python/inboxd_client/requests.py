"""Questions over HTTP, as data: the same for the device's client and for a backend's sender."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx2

from inboxd_client.errors import RequestError


@dataclass(frozen=True)
class Request:
    """`query`: pairs. `content`: what becomes the JSON body; None for none."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    content: Mapping[str, Any] | None = field(default=None)


def part(name: str) -> str:
    """As one step of a path."""
    return quote(name, safe="")


def given(**values: str | None) -> list[tuple[str, str]]:
    """Those that are not None; `from_` is `from`."""
    return [(name.rstrip("_"), value) for name, value in values.items() if value is not None]


def conversations() -> Request:
    return Request("GET", "/v1/conversations")


def fate(id: str, sender: str | None, to: str | None) -> Request:
    return Request("GET", f"/v1/messages/{part(id)}", given(from_=sender, to=to))


def groups() -> Request:
    return Request("GET", "/v1/groups")


def group(name: str) -> Request:
    return Request("GET", f"/v1/groups/{part(name)}")


def put_group(name: str, members: Iterable[str], title: str | None) -> Request:
    content = {"members": list(members)} | ({} if title is None else {"name": title})
    return Request("PUT", f"/v1/groups/{part(name)}", content=content)


def delete_group(name: str) -> Request:
    return Request("DELETE", f"/v1/groups/{part(name)}")


def add_member(name: str, user: str) -> Request:
    return Request("PUT", f"/v1/groups/{part(name)}/members/{part(user)}")


def remove_member(name: str, user: str) -> Request:
    return Request("DELETE", f"/v1/groups/{part(name)}/members/{part(user)}")


def marks(name: str) -> Request:
    return Request("GET", f"/v1/groups/{part(name)}/marks")


def presence(users: Iterable[str]) -> Request:
    return Request("GET", "/v1/presence", [("user", user) for user in users])


def block(user: str) -> Request:
    return Request("PUT", f"/v1/blocks/{part(user)}")


def unblock(user: str) -> Request:
    return Request("DELETE", f"/v1/blocks/{part(user)}")


def blocks() -> Request:
    return Request("GET", "/v1/blocks")


def answer_of(response: httpx2.Response) -> Any:
    """The JSON of a good answer, None where there is none. Raises RequestError."""
    if response.is_success:
        return response.json() if response.content else None
    problem = problem_of(response)
    raise RequestError(problem["code"], problem["detail"])


def problem_of(response: httpx2.Response) -> dict[str, str]:
    """`code` and `detail`, of any answer that is none of the service's, too."""
    try:
        content = response.json()
    except ValueError:
        content = None
    found = content if isinstance(content, dict) else {"code": f"http_{response.status_code}"}
    return {"code": str(found.get("code", "internal")), "detail": str(found.get("detail", ""))}

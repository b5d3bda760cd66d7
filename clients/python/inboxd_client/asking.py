"""What a client asks over HTTP, in the same name as on its WebSocket."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2

from inboxd_client import requests
from inboxd_client.errors import RequestError
from inboxd_client.requests import Request
from inboxd_client.shapes import Conversation, Fate, Group, GroupSummary, Mark, Presence
from inboxd_client.values import compact


def http_url(base: str) -> str:
    """Of the service, which may be named by its WebSocket's scheme."""
    address = urlsplit(base)
    scheme = {"ws": "http", "wss": "https"}.get(address.scheme, address.scheme)
    return urlunsplit((scheme, address.netloc, address.path.rstrip("/"), "", ""))


class Http:
    """`user`: who is asking, where the service runs without authentication; else `get_token(refresh)`.

    `options`: more for `httpx2.AsyncClient`. Opened by the first question.
    """

    def __init__(
        self,
        base: str,
        user: str | None,
        get_token: Callable[[bool], Awaitable[str | None]] | None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._base, self._user, self._get_token = base, user, get_token
        self._options = dict(options or {})
        self._client: httpx2.AsyncClient | None = None

    async def ask(self, request: Request) -> Any:
        """The JSON of the answer. Raises RequestError: `unreachable`, or as the service says."""
        response = await self._send(request, refresh=False)
        if response.status_code == 401 and self._get_token is not None:
            response = await self._send(request, refresh=True)
        return requests.answer_of(response)

    async def _send(self, request: Request, *, refresh: bool) -> httpx2.Response:
        headers = await self._headers(refresh=refresh)
        if request.content is not None:
            headers["Content-Type"] = "application/json"
        if self._client is None:
            self._client = httpx2.AsyncClient(base_url=self._base, **self._options)
        content = None if request.content is None else compact(request.content).encode()
        try:
            return await self._client.request(
                request.method, request.path, params=list(request.query), content=content, headers=headers
            )
        except httpx2.TransportError as fault:
            raise RequestError("unreachable", str(fault) or type(fault).__name__) from fault

    async def _headers(self, *, refresh: bool) -> dict[str, str]:
        if self._get_token is not None:
            return {"Authorization": f"Bearer {await self._get_token(refresh)}"}
        return {} if self._user is None else {"X-Inboxd-User": self._user}

    async def close(self) -> None:
        """Ends its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class Asking:
    """Questions and orders over HTTP, with or without a connection. All raise RequestError."""

    _http: Http

    async def conversations(self) -> list[Conversation]:
        """With whom one has written, newest first."""
        found: list[Conversation] = (await self._http.ask(requests.conversations()))["conversations"]
        return found

    async def fate(self, id: str, *, from_user: str | None = None, to: str | None = None) -> Fate:
        """What has become of a message. `from_user`: who sent it, None for oneself. `to`: one of its recipients."""
        found: Fate = await self._http.ask(requests.fate(id, from_user, to))
        return found

    async def groups(self) -> list[GroupSummary]:
        """One's own."""
        found: list[GroupSummary] = (await self._http.ask(requests.groups()))["groups"]
        return found

    async def group(self, group: str) -> Group:
        """Its members and owner; `no_such_group` also for who is no member."""
        found: Group = await self._http.ask(requests.group(group))
        return found

    async def put_group(self, group: str, members: Iterable[str], name: str | None = None) -> None:
        """Creates it, with oneself as owner and member; or, as its owner, replaces name and members."""
        await self._http.ask(requests.put_group(group, members, name))

    async def delete_group(self, group: str) -> None:
        """By its owner."""
        await self._http.ask(requests.delete_group(group))

    async def add_member(self, group: str, user: str) -> None:
        """By its owner. `refused`: that user blocks one."""
        await self._http.ask(requests.add_member(group, user))

    async def remove_member(self, group: str, user: str) -> None:
        """By its owner; anyone may leave."""
        await self._http.ask(requests.remove_member(group, user))

    async def marks(self, group: str) -> list[Mark]:
        """How far each member has it, and has read it."""
        found: list[Mark] = (await self._http.ask(requests.marks(group)))["marks"]
        return found

    async def presence(self, users: Iterable[str]) -> list[Presence]:
        """Of up to 200 users, now. To be told of changes: `watch`."""
        found: list[Presence] = (await self._http.ask(requests.presence(users)))["presence"]
        return found

    async def block(self, user: str) -> None:
        """From now on that user's sends to one are refused."""
        await self._http.ask(requests.block(user))

    async def unblock(self, user: str) -> None:
        """The end of `block`."""
        await self._http.ask(requests.unblock(user))

    async def blocks(self) -> list[str]:
        """Whom one blocks."""
        found: list[str] = (await self._http.ask(requests.blocks()))["blocks"]
        return found

"""The service's HTTP side, as a test asks it."""

import json
import re
from types import TracebackType
from typing import Any, Self

import httpx2

from scripts.lab.timing import PATIENCE

# What no answer may show: how the service is built, keys, traces.
LEAKS = re.compile(r"Traceback|File \"|\.py\b|chat:|redis|valkey|pydantic|starlette", re.IGNORECASE)


class Api:
    """Requests in the name of `user`, or with a token. Use as an async context manager."""

    def __init__(self, base: str, user: str | None = None, token: str | None = None) -> None:
        headers = {} if user is None else {"X-Inboxd-User": user}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self.user = user
        self.http = httpx2.AsyncClient(base_url=base, headers=headers, timeout=PATIENCE, trust_env=False)

    async def __aenter__(self) -> Self:
        await self.http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.__aexit__(kind, error, trace)

    async def post(self, content: Any) -> httpx2.Response:
        """`POST /v1/messages` of any JSON."""
        return await self.post_raw(json.dumps(content))

    async def post_raw(self, content: str | bytes, media_type: str = "application/json") -> httpx2.Response:
        """`POST /v1/messages` of any bytes."""
        return await self.http.post("/v1/messages", content=content, headers={"Content-Type": media_type})

    async def send(self, to: Any, body: Any = "hi", message_id: str | None = None, **more: Any) -> dict[str, Any]:
        """Sends a message; the answer, which must be an acceptance."""
        named = {} if message_id is None else {"id": message_id}
        response = await self.post({**named, "to": to, "body": body, **more})
        assert response.status_code in {200, 202}, response.text
        return dict(response.json())

    async def fill(self, to: str, count: int, body: Any = None, prefix: str = "m") -> list[str]:
        """So many messages to one user, in order; their cursors. Body: the message's number, from 1."""
        cursors: list[str] = []
        for start in range(1, count + 1, 1000):
            numbers = range(start, min(start + 1000, count + 1))
            messages = [
                {"id": f"{prefix}{number}", "to": to, "body": number if body is None else body} for number in numbers
            ]
            response = await self.http.post("/v1/messages/batch", json={"messages": messages})
            assert response.status_code == 200, response.text
            for result in response.json()["results"]:
                assert result["status"] == 202, result
                cursors.append(result["recipients"][0]["cursor"])
        return cursors

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that must succeed."""
        response = await self.http.get(path, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    async def inbox(self, user: str) -> Any:
        """`GET /v1/ops/inboxes/{user}`."""
        return await self.get(f"/v1/ops/inboxes/{user}")

    async def stored(self, user: str, device: str) -> str | None:
        """The cursor the service keeps for a device; None for one it does not know."""
        response = await self.http.get(f"/v1/ops/inboxes/{user}")
        devices = response.json().get("devices", [])
        return next((str(row["cursor"]) for row in devices if row["device"] == device), None)


def problem(response: httpx2.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """Checks that a response is this problem (RFC 9457) and tells nothing it should not; its content."""
    assert response.status_code == status, f"{response.status_code}: {response.text}"
    assert response.headers["content-type"].partition(";")[0] == "application/problem+json"
    content: dict[str, Any] = response.json()
    assert_problem(content, status, code, field)
    return content


def assert_problem(content: dict[str, Any], status: int, code: str, field: str | None = None) -> None:
    """As `problem`, for one that stands in a list of results."""
    assert content["type"] == f"urn:inboxd:{code}", content
    assert content["code"] == code
    assert content["status"] == status
    assert isinstance(content["title"], str)
    assert content["title"]
    assert isinstance(content["detail"], str)
    assert content["detail"]
    if field is not None:
        assert content["field"] == field, content
    assert not LEAKS.search(str(content)), f"shows too much: {content}"

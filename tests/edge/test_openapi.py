"""`/openapi.json` is whole: every answer has a shape, every refusal its codes, every route its rule.

That the service keeps to it is shown by tests/hostile/test_described.py.
"""

from typing import Any

import pytest

from service.app import create_app
from service.config import Settings
from service.core.errors import CODES
from service.delivery.worker import Worker
from service.edge.problems import MEDIA_TYPE
from tests.edge.test_access import WANTED
from tests.support.issuer import SECRET

SOCKETS_ONLY = {"unknown_type", "hello_repeated", "hello_expected", "ack_beyond_sent", "out_of_order"}
STREAMS_ONLY = {"replaced", "removed"}  # events of a stream that ends
BEFORE_ANY_ROUTE = {"malformed_request", "method_not_allowed"}


async def described(**settings: Any) -> dict[str, Any]:
    worker = Worker(Settings(redis_url="redis://127.0.0.1:1/0", **settings), lambda _: None)
    await worker.clients.aclose()
    return create_app(worker).openapi()


def operations(page: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{method.upper()} {path}": found
        for path, methods in page["paths"].items()
        for method, found in methods.items()
    }


def codes(response: dict[str, Any]) -> set[str]:
    content = response.get("content", {}).get(MEDIA_TYPE)
    return set(content["schema"]["properties"]["code"]["enum"]) if content else set()


@pytest.fixture
async def page() -> dict[str, Any]:
    return await described()


async def test_every_answer_has_a_shape(page: dict[str, Any]) -> None:
    for name, operation in operations(page).items():
        for status, response in operation["responses"].items():
            shapes = [content["schema"] for content in response.get("content", {}).values()]
            assert bool(shapes) == (status != "204"), (name, status)
            assert all(shapes), (name, status)


async def test_every_refusal_names_its_codes_and_each_is_of_that_status(page: dict[str, Any]) -> None:
    told = set()
    for name, operation in operations(page).items():
        for status, response in operation["responses"].items():
            found = codes(response)
            assert {CODES[code][0] for code in found} <= {int(status)}, name
            assert bool(found) == (status >= "300") or name == "POST /api/chat/create_chat", (name, status)
            told |= found
    assert told == set(CODES) - SOCKETS_ONLY - STREAMS_ONLY - BEFORE_ANY_ROUTE


async def test_what_says_when_to_come_again_is_declared(page: dict[str, Any]) -> None:
    for operation in operations(page).values():
        for status in {"429", "503"} & set(operation["responses"]):
            assert operation["responses"][status]["headers"]["Retry-After"]["required"] is True


async def test_with_tokens_every_route_names_the_scopes_that_let_in() -> None:
    page = await described(auth="jwt", jwt_secret=SECRET)
    assert page["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for name, operation in operations(page).items():
        assert {scope for one in operation["security"] for scope in one["token"]} == WANTED[name]


async def test_without_them_a_user_is_named(page: dict[str, Any]) -> None:
    assert page["components"]["securitySchemes"]["user"]["name"] == "X-Inboxd-User"
    nameless = {"GET /metrics", "POST /api/chat/create_chat"}
    for name, operation in operations(page).items():
        assert operation["security"] == ([{"user": []}] if WANTED[name] and name not in nameless else []), name


async def test_nothing_of_the_frameworks_own_is_left(page: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in str(page)
    assert page == await described()

"""What the service answers is what its OpenAPI page says, to requests that fit the page and to those that do not."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE
from service.edge import blocks, conversations, fate, groups, health, http, legacy, ops, presence, pushers
from tests.edge.conftest import by_token
from tests.edge.test_access import WANTED
from tests.support.api import LEAKS
from tests.support.issuer import SECRET, Issuer

GATEWAY = {"push_url": "https://push.example/", "push_format": "matrix", "push_after": "1d"}
"""One that devices can be registered for, and that is never asked."""

EXAMPLES = 5
"""Requests of each kind, for each operation and each who asks."""

PROFILE = settings(
    derandomize=True,
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
CHECKED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def operations() -> list[tuple[str, str]]:
    """Method and path of each, without a worker behind them."""
    app = FastAPI()
    for part in (http, groups, fate, conversations, presence, blocks, pushers, ops, health, legacy):
        app.include_router(part.router)
    return [(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def off(serve: Callable[..., Service]) -> Service:
    return serve(workers=1, **GATEWAY)


@pytest.fixture(scope="module")
def guarded(serve: Callable[..., Service]) -> Service:
    return serve(workers=1, operator=by_token, AUTH="jwt", JWT_SECRET=SECRET, **GATEWAY)


def ask(service: Service, method: str, path: str, headers: dict[str, str]) -> dict[GenerationMode, set[int]]:
    """Asks an operation whatever comes to mind; the statuses that came to what fits the page, and to what does not."""
    operation = schemathesis.openapi.from_url(f"{service.url}/openapi.json")[path][method]
    with requests.Session() as session:
        session.trust_env = False
        return {mode: statuses(service, operation, mode, session, headers) for mode in GenerationMode}


def statuses(
    service: Service,
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    session: requests.Session,
    headers: dict[str, str],
) -> set[int]:
    found = set()

    @PROFILE
    @given(operation.as_strategy(mode, query=_at_once(operation.path)))
    def one(case: Case[Any]) -> None:
        response = case.call(service.url, session, headers=headers, timeout=PATIENCE)
        case.validate_response(response, checks=CHECKED)
        found.add(response.status_code)
        assert not LEAKS.search(response.text) or operation.path == "/metrics", response.text

    with contextlib.suppress(Unsatisfiable):  # there is no way not to fit a page that asks for nothing
        one()
    return found


def _at_once(path: str) -> dict[str, Any] | None:
    """A long poll would be one."""
    return {"wait": 0} if path == "/v1/inbox" else None


def served(path: str, found: dict[GenerationMode, set[int]]) -> bool:
    """Those that name a user, a group or a message are about what nobody knows, or may not speak for; so are most of
    the forms of what can be sent.
    """
    named = "{" in path or path in {"/v1/messages", "/v1/inbox/read"}
    return min(found[GenerationMode.POSITIVE]) < 300 or named or path.startswith("/api/")


@pytest.mark.parametrize(("method", "path"), operations())
def test_without_authentication_every_answer_is_described(off: Service, method: str, path: str) -> None:
    found = ask(off, method, path, {"X-Inboxd-User": "operator"})
    assert served(path, found)


@pytest.mark.parametrize("scope", ("chat", "send:any", "ops"))
@pytest.mark.parametrize(("method", "path"), operations())
def test_with_a_token_of_any_scope_every_answer_is_described(
    guarded: Service, method: str, path: str, scope: str
) -> None:
    token = Issuer().token("operator", scope)
    found = ask(guarded, method, path, {"Authorization": f"Bearer {token}"})
    wanted = WANTED[f"{method} {path}"]
    if wanted and scope not in wanted:
        assert found[GenerationMode.POSITIVE] == {403}
        assert found[GenerationMode.NEGATIVE] <= {401, 403, 404}
    else:
        assert served(path, found)

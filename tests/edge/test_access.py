"""Every route has a rule about who may use it, and keeps to it."""

import re
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.routing import Mount, Route, WebSocketRoute

from scripts.lab.service import Service
from service.app import create_app
from service.config import Settings
from service.delivery.worker import Worker
from service.edge.access import rules, unruled
from service.edge.auth import CHATTERS, EVERYBODY, OPERATORS, Rule
from tests.support.api import Api
from tests.support.issuer import SECRET, Issuer
from tests.support.wire import Wire

CHAT, SENDING, OPS, NOBODY = {"chat"}, {"chat", "send:any"}, {"ops"}, set[str]()

WANTED = {
    "GET /": NOBODY,
    "GET /docs": NOBODY,
    "GET /healthz": NOBODY,
    "GET /openapi.json": NOBODY,
    "GET /manifest.webmanifest": NOBODY,
    "GET /readyz": NOBODY,
    "GET /sdk/inboxd.mjs": NOBODY,
    "GET /sdk/inboxd-http.mjs": NOBODY,
    "GET /sw.mjs": NOBODY,
    "GET /web/{path:path}": NOBODY,
    "GET /metrics": OPS,
    "POST /v1/messages": SENDING,
    "POST /v1/messages/batch": SENDING,
    "GET /v1/messages/{id}": {*SENDING, *OPS},
    "POST /v1/inbox/read": CHAT,
    "GET /v1/conversations": CHAT,
    "GET /v1/events": CHAT,
    "GET /v1/inbox": CHAT,
    "POST /v1/inbox/ack": CHAT,
    "GET /v1/inbox/history": CHAT,
    "GET /v1/presence": SENDING,
    "GET /v1/presence/{user}": SENDING,
    "GET /v1/blocks": CHAT,
    "PUT /v1/blocks/{user}": CHAT,
    "DELETE /v1/blocks/{user}": CHAT,
    "GET /v1/groups": CHAT,
    "PUT /v1/groups/{group}": SENDING,
    "GET /v1/groups/{group}": SENDING,
    "DELETE /v1/groups/{group}": SENDING,
    "GET /v1/groups/{group}/marks": SENDING,
    "PUT /v1/groups/{group}/members/{user}": SENDING,
    "DELETE /v1/groups/{group}/members/{user}": SENDING,
    "GET /v1/pushers/{device}": CHAT,
    "PUT /v1/pushers/{device}": CHAT,
    "DELETE /v1/pushers/{device}": CHAT,
    "GET /v1/ops/workers": OPS,
    "GET /v1/ops/inboxes/{user}": OPS,
    "POST /v1/ops/broadcast": OPS,
    "DELETE /v1/ops/connections/{user}": OPS,
    "POST /api/chat/create_chat": SENDING,
    "WS /v1/ws": CHAT,
    "WS /api/chat/connect_chat": CHAT,
}
"""Which of the scopes let in; a new route is written down here, by somebody who has thought about it."""

GUARDED = sorted(name for name, scopes in WANTED.items() if scopes and not name.startswith("WS"))


@pytest.fixture
async def app() -> Any:
    worker = Worker(Settings(redis_url="redis://127.0.0.1:1/0", auth="jwt", jwt_secret=SECRET), lambda _: None)
    yield create_app(worker)
    await worker.clients.aclose()


async def test_every_route_has_the_rule_it_should_have(app: FastAPI) -> None:
    found = {name: rule and set(rule.scopes) for name, rule in rules(app).items() if not name.startswith("HEAD ")}
    assert found == WANTED
    assert unruled(app) == []


async def nothing() -> None: ...


class Socket:
    async def __call__(self, *_: object) -> None: ...


def router(*dependencies: Any) -> APIRouter:
    made = APIRouter(prefix="/deep")
    made.add_api_route("/er", nothing, dependencies=[Depends(rule) for rule in dependencies])
    outer = APIRouter(prefix="/very")
    outer.include_router(made)
    return outer


@pytest.mark.parametrize(
    ("route", "name"),
    (
        (Route("/plain", nothing), "GET /plain"),
        (Mount("/mounted", routes=[Route("/inner", nothing)]), "GET /mounted/inner"),
        (Mount("/mounted", app=Socket()), "* /mounted"),
        (Mount("/app", app=FastAPI(openapi_url=None, routes=[Route("/inner", nothing)])), "GET /app/inner"),
        (WebSocketRoute("/socket", Socket()), "WS /socket"),
        (Mount("/mounted", routes=[WebSocketRoute("/socket", Socket())]), "WS /mounted/socket"),
    ),
    ids=("plain", "mounted", "mounted_app", "mounted_framework", "socket", "mounted_socket"),
)
async def test_a_route_without_a_rule_is_found(app: FastAPI, route: Any, name: str) -> None:
    app.router.routes.append(route)
    assert name in unruled(app)


async def test_a_route_of_an_included_router_needs_a_rule_too_and_only_one(app: FastAPI) -> None:
    app.include_router(router())
    assert unruled(app) == ["GET /very/deep/er"]


async def test_two_rules_are_none(app: FastAPI) -> None:
    app.include_router(router(CHATTERS, OPERATORS))
    assert unruled(app) == ["GET /very/deep/er"]


async def test_a_declared_rule_is_found_wherever_the_route_is(app: FastAPI) -> None:
    app.include_router(router(OPERATORS))
    assert rules(app)["GET /very/deep/er"] == OPERATORS


async def test_an_application_with_such_a_route_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.app.health.router", router())
    worker = Worker(Settings(redis_url="redis://127.0.0.1:1/0"), lambda _: None)
    with pytest.raises(RuntimeError, match=r"GET /very/deep/er"):
        create_app(worker)
    await worker.clients.aclose()


def test_a_rule_for_everybody_names_no_scope() -> None:
    assert Rule() == EVERYBODY


# What a running service makes of it.


async def asked(guarded: Service, name: str, token: str | None) -> Any:
    method, path = name.split(" ")
    path = re.sub(r"\{\w+\}", "bob", path.replace("{path:path}", "app.mjs"))
    async with Api(guarded.url, token=token) as api:
        return await api.http.request(method, path)


@pytest.mark.parametrize("name", GUARDED)
async def test_without_a_token_there_is_no_way_in(guarded: Service, name: str) -> None:
    answer = await asked(guarded, name, None)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("name", GUARDED)
async def test_a_wrong_token_is_no_way_in(guarded: Service, name: str) -> None:
    answer = await asked(guarded, name, Issuer(secret="another secret of at least 32 bytes").token("bob", "chat ops"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("scope", ("chat", "send:any", "ops", "", "openid"))
@pytest.mark.parametrize("name", GUARDED)
async def test_the_scope_decides_before_anything_else_is_looked_at(guarded: Service, name: str, scope: str) -> None:
    answer = await asked(guarded, name, Issuer().token("operator.of.routes", scope))
    if scope in WANTED[name]:
        assert answer.status_code not in {401, 403}
    else:
        assert answer.status_code == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("name", sorted(name for name, scopes in WANTED.items() if not scopes))
async def test_what_is_for_everybody_asks_nobody(guarded: Service, name: str) -> None:
    assert (await asked(guarded, name, None)).status_code == 200
    assert (await asked(guarded, name, "nonsense")).status_code == 200


@pytest.mark.parametrize("scope", ("send:any", "ops", ""))
@pytest.mark.parametrize("name", sorted(name for name in WANTED if name.startswith("WS")))
async def test_a_socket_needs_the_scope_chat(guarded: Service, name: str, scope: str) -> None:
    url = guarded.url.replace("http", "ws") + name.removeprefix("WS ")
    token = Issuer().token("bob", scope)
    wire = await Wire.open(url, headers={"Authorization": f"Bearer {token}"})
    await wire.send({"type": "hello", "device": "phone"})
    assert await wire.ended() == 4503

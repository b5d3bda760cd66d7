"""Composition: every route around one worker."""

from fastapi import FastAPI
from starlette.routing import WebSocketRoute

from service.delivery.worker import Worker
from service.edge import (
    access,
    blocks,
    conversations,
    docs_page,
    events,
    fate,
    groups,
    health,
    http,
    legacy,
    openapi,
    ops,
    presence,
    problems,
    pushers,
    web,
)
from service.edge.auth import Gate, LoopbackGuard
from service.edge.express import Express, stops
from service.edge.intake import MOST_HELD, Intake
from service.edge.legacy import LegacyEndpoint
from service.edge.rates import Rates
from service.edge.ws import WebSocketEndpoint


def create_app(worker: Worker) -> FastAPI:
    """One worker's application. Whoever serves it starts the worker before and stops it after. Raises Refused."""
    gate = Gate(worker.settings)
    app = FastAPI(
        title="inboxd",
        summary="Chat delivery: an accepted message is a delivered message.",
        version=worker.version,
        redirect_slashes=False,
        docs_url=None,  # those load scripts from the internet; service/edge/docs_page.py is the page
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # /metrics is ours; asked for at each request
    )
    app.state.worker = worker
    app.state.gate = gate
    app.state.rates = rates = Rates(worker.settings)
    problems.install(app)
    for part in (
        http,
        groups,
        fate,
        conversations,
        events,
        presence,
        blocks,
        pushers,
        ops,
        health,
        legacy,
        docs_page,
        web,
    ):
        app.include_router(part.router)
    openapi.install(app, with_tokens=gate.tokens is not None)
    app.router.routes.append(WebSocketRoute("/v1/ws", WebSocketEndpoint(worker, gate, rates), name="ws"))
    legacy_endpoint = LegacyEndpoint(worker, gate, rates)
    app.router.routes.append(WebSocketRoute("/api/chat/connect_chat", legacy_endpoint, name="legacy"))
    app.add_middleware(Express, stops=stops(http.router.routes, http.CARRYING))
    app.add_middleware(Intake, most=max(MOST_HELD, 2 * worker.settings.max_batch_bytes))
    if gate.tokens is None:
        app.add_middleware(LoopbackGuard, origins=worker.settings.origins)
    if unruled := access.unruled(app):
        raise RuntimeError(f"nobody has said who may use {', '.join(unruled)}")
    return app

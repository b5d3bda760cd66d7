"""Every route has a rule about who may use it. `create_app` will not make an application where one has none."""

from collections.abc import Iterable, Iterator

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Mount, WebSocketRoute

from service.edge.auth import EVERYBODY, Rule

BESIDE = {"/openapi.json": EVERYBODY}
"""Routes that the framework, or a folder of pages, brings along: there is no place at them to declare a rule."""


def rules(app: FastAPI) -> dict[str, Rule | None]:
    """Each route by method and path (`WS` for a socket), mounted ones too, with its rule; None: it has none."""
    late = getattr(app.router, "_low_priority_routes", [])  # where app.frontend() puts pages
    return dict(_walk([*app.routes, *late], ""))


def unruled(app: FastAPI) -> list[str]:
    """Routes without a rule."""
    return [name for name, rule in rules(app).items() if rule is None]


def _walk(routes: Iterable[BaseRoute], prefix: str) -> Iterator[tuple[str, Rule | None]]:
    for context in iter_route_contexts(list(routes)):
        route, path = context.original_route, f"{prefix}{context.path or ''}"
        inner = getattr(route, "routes", None) if isinstance(route, Mount) else None
        if inner:
            yield from _walk(inner, path)
            continue
        if isinstance(route, WebSocketRoute):
            yield f"WS {path}", getattr(route.endpoint, "rule", None)
            continue
        dependant = getattr(context, "dependant", None)
        rule = declared(dependant) if isinstance(dependant, Dependant) else BESIDE.get(path)
        for method in sorted(context.methods or {"*"}):
            yield f"{method} {path}", rule


def declared(dependant: Dependant) -> Rule | None:
    """The rule among a route's dependencies; None where there is none, or more than one."""
    found = {inner.call for inner in dependant.dependencies if isinstance(inner.call, Rule)}
    return found.pop() if len(found) == 1 else None

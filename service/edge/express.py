"""The express: the few routes that carry every message, without the layers a framework puts around a route.

FastAPI's way to an endpoint costs three times what the endpoint does. Here is another to the same endpoints: the path
is looked up, the route's own rule and endpoint are called, and what they raise is answered as everywhere. The routes
stay where they are, for whoever reads their description, and everything else goes on to them
(docs/decisions/0029-an-express-to-the-routes-that-carry-messages.md).
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction, signature
from typing import cast

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.core.errors import ClientError, Unavailable
from service.core.identity import Identity
from service.edge.access import declared
from service.edge.auth import Rule
from service.edge.http_protocol import answer_whole
from service.edge.problems import of_error


@dataclass(frozen=True, slots=True)
class Stop:
    """One route: who may use it, and what answers."""

    rule: Rule
    endpoint: Callable[[Request, Identity], Awaitable[Response]]


def stops(routes: Iterable[BaseRoute], paths: Iterable[str]) -> dict[str, Stop]:
    """The POST routes of these paths, as they were declared. Raises LookupError for one that is not there, or that
    asks the framework for anything but its request and who asks, in this order.
    """
    found = {route.path: route for route in routes if isinstance(route, APIRoute) and route.methods == {"POST"}}
    return {path: _stop(found[path]) for path in paths}


def _stop(route: APIRoute) -> Stop:
    asked, rule = route.dependant, declared(route.dependant)
    given = [asked.request_param_name, *(inner.name for inner in asked.dependencies)]
    plain = len(given) == 2 and given == [*signature(route.endpoint).parameters] and iscoroutinefunction(route.endpoint)
    if rule is None or rule.itself or not plain:
        raise LookupError(f"{route.path} needs what only the framework gives")
    return Stop(rule, cast("Callable[[Request, Identity], Awaitable[Response]]", route.endpoint))


class Express:
    """ASGI middleware, the innermost: what stands around it (`Intake`, `LoopbackGuard`, the last answer to what fails)
    stands around its stops, too.
    """

    def __init__(self, app: ASGIApp, stops: Mapping[str, Stop]) -> None:
        self.app = app
        self.stops = stops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stop = self.stops.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if stop is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            identity = await stop.rule.admit(request)
            response = await stop.endpoint(request, cast("Identity", identity))
        except (ClientError, Unavailable) as error:
            response = of_error(error)
        await answer_whole(response, scope, receive, send)

"""Errors as `application/problem+json` (RFC 9457), the framework's own included."""

import logging
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.core.errors import ClientError, Fault, Unavailable
from service.core.sending import UNAVAILABLE

log = logging.getLogger("inboxd.http")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "1"
"""Seconds after which a send answered 503 may be tried again."""
_OF_STATUS = {401: "unauthenticated", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "too_large",
              415: "unsupported_media_type"}  # fmt: skip


class Denied(ClientError):
    """Who asks is not known, or may not. `headers`: what the answer says about how to ask."""

    def __init__(self, code: str, detail: str, challenge: str) -> None:
        super().__init__(code, detail)
        self.headers = {"WWW-Authenticate": challenge}


def problem(fault: Fault, **more: Any) -> dict[str, Any]:
    """The body of a problem."""
    content: dict[str, Any] = {
        "type": f"urn:inboxd:{fault.code}",
        "title": fault.title,
        "status": fault.status,
        "detail": fault.detail,
        "code": fault.code,
    }
    if fault.field is not None:
        content["field"] = fault.field
    return content | more


def problem_response(fault: Fault, headers: dict[str, str] | None = None, **more: Any) -> Response:
    headers = dict(headers or {})
    if fault.status == 503 or fault.code == "too_many_connections":
        headers.setdefault("Retry-After", RETRY_AFTER)
    return Response(orjson.dumps(problem(fault, **more)), fault.status, headers, MEDIA_TYPE)


def of_error(error: ClientError | Unavailable) -> Response:
    """What an endpoint raises on purpose."""
    if isinstance(error, Unavailable):
        return problem_response(UNAVAILABLE)
    return problem_response(error.fault, error.headers if isinstance(error, Denied) else None)


async def _on_purpose(request: Request, error: Exception) -> Response:
    assert isinstance(error, ClientError | Unavailable)
    return of_error(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _OF_STATUS.get(error.status_code, "internal" if error.status_code >= 500 else "invalid_field")
    headers = dict(error.headers) if error.headers else None
    return problem_response(Fault(code, str(error.detail)), headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()[0]
    field = str(found["loc"][-1]) if found["loc"] else None
    return problem_response(Fault("invalid_field", f"{field}: {found['msg']}", field))


async def _failed(request: Request, error: Exception) -> Response:
    log.error("%s %r failed", request.method, request.url.path, exc_info=error)
    return problem_response(Fault("internal", "the service failed; it has been logged"))


def install(app: FastAPI) -> None:
    """Every error of `app` leaves as a problem."""
    app.add_exception_handler(ClientError, _on_purpose)
    app.add_exception_handler(Unavailable, _on_purpose)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)

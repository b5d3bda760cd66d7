"""What `/openapi.json` says beside what the framework reads off the routes: answers, problems, who may ask.

The routes read and write by themselves, so nothing of this is checked when they run; the tests hold the two together.
"""

from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter

from service.core.errors import CODES
from service.core.frames import CursorText, Name, Strict
from service.edge.access import rules
from service.edge.auth import Rule
from service.edge.problems import MEDIA_TYPE

Schema = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]

NAME = TypeAdapter(Name).json_schema()
CURSOR = TypeAdapter(CursorText).json_schema()
TEXT, FLAG, COUNT = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
ENTRIES = {"type": "array", "items": {"type": "object", "required": ["type", "cursor"]}}

ANYWHERE = ("forbidden", "too_slow", "head_too_large", "internal", "overloaded")
"""What any request may be told: by the engine, or before a route is looked for."""
ASKING = ("unauthenticated", "unavailable")
BODY = ("malformed_json", "too_large", "unsupported_media_type", "invalid_field")


def fields(required: dict[str, Any], **optional: Any) -> Schema:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


def list_of(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def maybe(schema: Schema) -> Schema:
    """Or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def answer(status: int, text: str, schema: Schema) -> Responses:
    """One of the `responses=` of a route."""
    return {status: _response(text, schema, "application/json")}


def _response(text: str, schema: Schema, media_type: str) -> dict[str, Any]:
    return {"description": text, "content": {media_type: {"schema": schema}}}


def described(model: type[Strict] | Schema, text: str) -> dict[str, Any]:
    """OpenAPI of a body that the route reads itself."""
    schema = model if isinstance(model, dict) else model.model_json_schema(by_alias=True)
    return {"requestBody": {"required": True, "description": text, "content": {"application/json": {"schema": schema}}}}


def problem_schema(codes: tuple[str, ...], **more: Any) -> Schema:
    """A problem with one of these codes, which are of one status."""
    return fields(
        {
            "type": {"enum": [f"urn:inboxd:{code}" for code in codes]},
            "title": TEXT,
            "status": {"const": CODES[codes[0]][0]},
            "detail": TEXT,
            "code": {"enum": list(codes)},
        },
        field=TEXT,
        **more,
    )


def problems(*codes: str, **more: Any) -> Responses:
    """The `responses=` for errors with these codes, and for those that any request may meet. `more`: further fields."""
    of_status: dict[int, tuple[str, ...]] = {}
    for code in (*codes, *ANYWHERE):
        status = CODES[code][0]
        of_status[status] = (*of_status.get(status, ()), code)
    return {status: _problem(status, ones, more) for status, ones in sorted(of_status.items())}


def _problem(status: int, codes: tuple[str, ...], more: dict[str, Any]) -> dict[str, Any]:
    text = ", ".join(f"`{code}`" for code in codes)
    response = _response(text, problem_schema(codes, **more), MEDIA_TYPE)
    if status in (429, 503):
        response["headers"] = {"Retry-After": {"required": True, "description": "seconds", "schema": TEXT}}
    return response


def refusals(schema: Schema, *codes: str) -> Responses:
    """As `problems`, for a route that refuses in a shape of its own; what is refused before it is reached does not."""
    found = problems()
    for status, response in problems(*codes).items():
        told = found.setdefault(status, response | {"content": {}})
        if status in {CODES[code][0] for code in codes}:
            told["content"]["application/json"] = {"schema": schema}
    return found


def install(app: FastAPI, with_tokens: bool) -> None:
    """Has the description name the rule of each route, as the settings have it."""
    plain = app.openapi
    scheme = "token" if with_tokens else "user"
    schemes = {
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "user": {"type": "apiKey", "in": "header", "name": "X-Inboxd-User"},
    }

    def openapi() -> dict[str, Any]:
        found = plain()  # kept by the framework, so that this is added once
        components = found.setdefault("components", {})
        if "securitySchemes" not in components:
            components["securitySchemes"] = {scheme: schemes[scheme]}
            of_route = rules(app)
            for path, methods in found["paths"].items():
                for method, operation in methods.items():
                    operation["security"] = _security(of_route[f"{method.upper()} {path}"], with_tokens)
        return found

    app.openapi = openapi  # type: ignore[method-assign]


def _security(rule: Rule | None, with_tokens: bool) -> list[dict[str, list[str]]]:
    """One of them is enough; [] is for everybody."""
    if rule is None or not rule.scopes:
        return []
    if with_tokens:
        return [{"token": [scope]} for scope in rule.scopes]
    return [] if rule.nameless else [{"user": []}]

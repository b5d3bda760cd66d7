"""`/docs`: the HTTP endpoints as a page, made of `/openapi.json`. No script, nothing from elsewhere.

The usual page loads its scripts from the internet; here they would run where every inbox can be read.
"""

import base64
import hashlib
import json
from html import escape
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, Response

from service.edge.auth import EVERYBODY
from service.edge.headers import CSP

router = APIRouter(include_in_schema=False, dependencies=[Depends(EVERYBODY)])

STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 56rem; margin: 0 auto; padding: 1rem; }
article { border-top: 1px solid; padding: .5rem 0; }
h2 { margin-top: 2rem; }
h3 { font-family: ui-monospace, monospace; font-size: 1rem; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .5rem; border: 1px solid; }
td, th { text-align: left; vertical-align: top; padding: 0 1rem .25rem 0; }
"""
POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


@router.get("/docs")
async def docs(request: Request) -> Response:
    return HTMLResponse(page(request.app.openapi()), headers={CSP: POLICY})


def page(described: dict[str, Any]) -> str:
    """HTML of an OpenAPI description."""
    title, version = escape(described["info"]["title"]), escape(described["info"]["version"])
    groups: dict[str, list[str]] = {}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(f"{method.upper()} {path}", operation))
    content = "".join(f"<section><h2>{escape(tag)}</h2>{''.join(ones)}</section>" for tag, ones in groups.items())
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}: HTTP</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{title} {version}</h1><p>{escape(described['info'].get('summary', ''))}</p>"
        '<p>For programs: <a href="/openapi.json">openapi.json</a>. WebSockets, errors and the rules of each field '
        f"are in docs/protocol.md.</p>{content}</body></html>"
    )


def _operation(name: str, operation: dict[str, Any]) -> str:
    parts = [f"<article><h3>{escape(name)}</h3><p>{escape(operation.get('description', ''))}</p>"]
    if parameters := operation.get("parameters"):
        rows = "".join(_parameter(one) for one in parameters)
        parts.append(f"<table><tr><th>parameter</th><th>in</th><th>needed</th><th>rule</th></tr>{rows}</table>")
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = json.dumps(content["schema"], indent=2, ensure_ascii=False)
        summary = f"Body: {media}, as a JSON Schema"
        parts.append(f"<details><summary>{escape(summary)}</summary><pre>{escape(schema)}</pre></details>")
    answers = ", ".join(sorted(operation.get("responses", {})))
    return "".join((*parts, f"<p>Answers: {escape(answers)}; errors are problems (RFC 9457).</p></article>"))


def _parameter(one: dict[str, Any]) -> str:
    schema = {name: value for name, value in one.get("schema", {}).items() if name != "title"}
    cells = (one["name"], one["in"], "yes" if one.get("required") else "no", json.dumps(schema, ensure_ascii=False))
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"

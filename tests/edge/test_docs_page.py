"""`/docs` is whole, shows what it is given as text, and its policy lets nothing in but its own style."""

import base64
import hashlib
import re

from scripts.lab.service import Service
from service.edge.docs_page import page
from tests.support.api import Api


async def test_it_names_every_endpoint_of_the_description(service: Service) -> None:
    async with Api(service.url) as nobody:
        text = (await nobody.http.get("/docs")).text
        described = await nobody.get("/openapi.json")
    for path, methods in described["paths"].items():
        for method in methods:
            assert f"<h3>{method.upper()} {path}</h3>" in text


async def test_it_loads_nothing_and_its_policy_allows_its_own_style_alone(service: Service) -> None:
    async with Api(service.url) as nobody:
        response = await nobody.http.get("/docs")
    assert re.findall(r"<(?:script|link|img|iframe|form|base)\b|\bon\w+=|\bsrc=|\bstyle=", response.text) == []
    (style,) = re.findall(r"<style>(.*?)</style>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert policy.pop("style-src") == f"'sha256-{digest}'"
    assert set(policy) == {"default-src", "frame-ancestors", "base-uri", "form-action"}
    assert set(policy.values()) == {"'none'"}
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_other_documentation_pages_are_not_there(service: Service) -> None:
    async with Api(service.url) as nobody:
        for path in ("/redoc", "/docs/oauth2-redirect"):
            assert (await nobody.http.get(path)).status_code == 404


def test_what_stands_in_a_description_is_text() -> None:
    evil = "<script>alert(1)</script>"
    operation = {
        "tags": [evil],
        "description": evil,
        "parameters": [{"name": evil, "in": evil, "schema": {"pattern": evil}}],
        "requestBody": {"content": {evil: {"schema": {"title": evil}}}},
        "responses": {evil: {}},
    }
    text = page({"info": {"title": evil, "version": evil, "summary": evil}, "paths": {evil: {"get": operation}}})
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 10

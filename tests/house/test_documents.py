"""Pages and code say the same: tables, names, links, and every command a reader is told to type."""

import ast
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from starlette.routing import WebSocketRoute

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, eventually_async
from service.app import create_app
from service.cli import app as commands
from service.config import VERSION, Settings
from service.core.cursor import Cursor
from service.core.errors import CODES, Fault
from service.core.frames import FRAMES, MAX_EXPIRES_IN, MAX_RECIPIENTS, MAX_WINDOW, Edit, Send
from service.core.reading import validate
from service.core.strict_json import MAX_DEPTH
from service.delivery.worker import Worker
from service.edge.http import MOST_IN_BATCH
from service.edge.problems import problem
from tests.house.tree import ROOT
from tests.support.api import Api
from tests.support.rules import FIELDS

PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("clients/*/README.md")})
README = (ROOT / "README.md").read_text()
PROTOCOL = (ROOT / "docs/protocol.md").read_text()
DECISIONS = sorted(ROOT.glob("docs/decisions/*.md"))

BY_HAND = ("make run", "make test", "INBOXD_REDIS_URL=", "docker compose up --build")
"""Commands of the README that no test types: they install, need another server, or a container engine."""


def section(page: str, title: str) -> str:
    """What stands below a heading, up to the next of its rank or a higher one."""
    found = re.search(rf"^(#+) {re.escape(title)}$", page, re.MULTILINE)
    assert found, f"no heading {title!r}"
    rest = page[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """The cells of the first table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def ticked(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block."""
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        yield found[1], found[2]


# The wire protocol


def test_the_error_table_has_every_code_with_its_status_and_whether_to_try_again() -> None:
    told = {row[0].strip("` "): (row[1], row[2]) for row in rows(section(PROTOCOL, "9. Errors"))}
    assert told == {code: (str(status), "yes" if again else "no") for code, (status, _, again) in CODES.items()}


@pytest.mark.parametrize("kind", sorted(FRAMES))
def test_the_page_lists_exactly_the_fields_a_client_frame_may_have(kind: str) -> None:
    told = [name for row in rows(section(PROTOCOL, f"`{kind}`")) for name in ticked(row[0])]
    fields = FRAMES[kind].model_fields
    assert sorted(told) == sorted(field.alias or name for name, field in fields.items())


def test_the_page_lists_exactly_the_fields_a_message_may_have_over_http() -> None:
    told = [name for row in rows(section(PROTOCOL, "`POST /v1/messages`")) for name in ticked(row[0])]
    assert sorted(told) == sorted(field.alias or name for name, field in Send.model_fields.items())


@pytest.mark.parametrize("kind", sorted(FIELDS))
def test_the_page_lists_the_fields_of_every_frame_the_service_sends(kind: str) -> None:
    page = section(section(PROTOCOL, "7. Server to client"), f"`{kind}`")
    told = {name for row in rows(page) for name in ticked(row[0])}
    always, sometimes = FIELDS[kind]
    assert always <= told <= always | sometimes


def test_every_close_code_of_the_code_is_on_the_page() -> None:
    told = {row[0] for row in rows(section(PROTOCOL, "8. Close codes"))}
    by_the_engine = {"1002", "1007", "1009"}
    assert told == {str(code) for code in close_codes()} | by_the_engine


def close_codes() -> set[int]:
    """Whole numbers in the code that can only be close codes."""
    found = set()
    for path in (ROOT / "service").rglob("*.py"):
        if "ops" in path.parts:
            continue  # a client
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and type(node.value) is int:
                found.add(node.value)
    sizes = {1024, 4096}
    before_the_accept = {1008}  # how ASGI refuses a handshake; a 403 on the wire
    return {code for code in found if 1002 <= code < 1016 or 4000 <= code < 5000} - sizes - before_the_accept


async def test_every_route_is_on_the_page() -> None:
    worker = Worker(Settings(redis_url="redis://127.0.0.1:1/0"), lambda _: None)
    app = create_app(worker)
    await worker.clients.aclose()
    routes = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    routes |= {f"WS {route.path}" for route in app.routes if isinstance(route, WebSocketRoute)}
    routes |= {f"GET {path}" for path in (app.openapi_url, "/docs", "/")}
    page = section(PROTOCOL, "10. All HTTP endpoints, and the older protocol")
    assert {name for row in rows(page) for name in ticked(row[0])} == routes


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    limits = section(PROTOCOL, "2. Names and limits")
    settings = Settings.model_fields
    for number in (MAX_RECIPIENTS, MAX_EXPIRES_IN, MAX_DEPTH, MOST_IN_BATCH):
        assert f"{number:,} " in limits or f"{number:,} |" in limits, number
    for name in ("max_body", "max_pending", "history"):
        assert f"{settings[name].default:,} " in limits, name
    assert f"1 to {MAX_WINDOW:,}" in section(PROTOCOL, "`hello`")


def test_the_examples_on_the_page_are_what_the_code_takes_and_makes() -> None:
    examples = [json.loads(text) for language, text in blocks(PROTOCOL) if language == "json"]
    sent, accepted, edited, refused = examples
    assert validate(Send, sent).id == accepted["id"] == validate(Edit, edited).target == "m-17"
    assert accepted["ts"] == Cursor.parse(accepted["recipients"][0]["cursor"]).ms
    assert problem(Fault(refused["code"], refused["detail"], refused["field"])) == refused


# The README


def test_the_settings_table_is_the_settings_class(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("INBOXD_")]:
        monkeypatch.delenv(name)
    told = {ticked(row[0])[0]: row[1].strip("`") for row in rows(section(README, "Settings"))}
    assert list(told) == [f"INBOXD_{name.upper()}" for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        text = told[f"INBOXD_{name.upper()}"]
        if text == "none":
            assert field.default in (None, ()), name
        else:
            assert getattr(Settings.model_validate({name: text}), name) == getattr(Settings(), name), name


def test_the_flags_named_are_those_of_serve() -> None:
    serve = typer.main.get_command(commands).commands["serve"]  # type: ignore[attr-defined]
    flags = {option for parameter in serve.params for option in parameter.opts} - {"--help"}
    assert set(re.findall(r"`(--[a-z-]+)`", section(README, "Settings"))) == flags


def test_every_command_in_the_readme_does_what_it_says(serve: Callable[..., Service]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    service = serve()
    real: dict[str, str] = {}  # cursors of the page → those of this run
    answer = ""
    for language, text in blocks(README):
        if language == "sh":
            for command in text.replace("\\\n", " ").splitlines():
                if not command.startswith(BY_HAND):
                    answer = typed(command.partition("  #")[0], service, real)
        elif language == "json":
            assert_alike(json.loads(text), json.loads(answer), real)
    assert real, "no example was compared"


def typed(command: str, service: Service, real: dict[str, str]) -> str:
    """What a command of the README answers when it is typed against `service`."""
    for page, cursor in real.items():
        command = command.replace(page, cursor)
    command = command.replace("http://127.0.0.1:8000", service.url)
    command = command.replace("curl ", "curl --fail ").replace(".venv/bin/inboxd", f"'{sys.executable}' -m service.cli")
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=ROOT,
        env={**os.environ, "INBOXD_PORT": str(service.port), "INBOXD_DATA_DIR": str(service.home / "data")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def assert_alike(page: Any, answer: Any, real: dict[str, str]) -> None:
    """The same but for cursors and times; notes which cursor stands for which."""
    if isinstance(page, dict):
        assert list(page) == list(answer), (page, answer)
        for name in page:
            if name in {"cursor", "head"}:
                assert real.setdefault(page[name], answer[name]) == answer[name]
            elif name != "ts":
                assert_alike(page[name], answer[name], real)
    elif isinstance(page, list):
        assert len(page) == len(answer), (page, answer)
        for one, other in zip(page, answer, strict=True):
            assert_alike(one, other, real)
    else:
        assert page == answer


async def test_the_client_in_the_readme_receives_and_acks(serve: Callable[..., Service]) -> None:
    service = serve()
    async with Api(service.url, "alice") as alice:
        accepted = await alice.send("bob", {"text": "hi"}, "m-1")
        (client,) = [text for language, text in blocks(README) if language == "python"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", client.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}"),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        frames: list[dict[str, Any]] = []
        while not frames or frames[-1]["type"] != "live":
            frames.append(ast.literal_eval((await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()))
        assert [frame["type"] for frame in frames] == ["welcome", "message", "live"]
        assert frames[1]["body"] == {"text": "hi"}

        async def acked() -> bool:
            return bool(await alice.stored("bob", "laptop") == accepted["recipients"][0]["cursor"])

        await eventually_async(acked, "the ack is stored")
        process.terminate()
        await process.wait()


# All pages


def anchors(text: str) -> set[str]:
    """How links name the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith("http"):
            name, _, anchor = target.partition("#")
            found = page.parent / name if name else page
            assert found.exists(), target
            assert not anchor or anchor in anchors(found.read_text()), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_a_page_names_exists(page: Path) -> None:
    for name in ticked(page.read_text()):
        if re.fullmatch(r"(service|tests|scripts|docs)/[\w./-]+", name):
            assert (ROOT / name).exists(), name
        elif re.fullmatch(r"(core|store|delivery|edge|ops)/[\w./-]+", name):
            assert (ROOT / "service" / name).exists(), name


def test_the_map_of_the_service_names_files_that_exist() -> None:
    named = re.findall(r"[\w/]+\.(?:py|lua)", (ROOT / "service/__init__.py").read_text())
    assert len(named) > 10
    for name in named:
        assert (ROOT / "service" / name).is_file(), name


def test_decisions_are_numbered_without_holes_and_say_context_decision_and_consequences() -> None:
    for number, page in enumerate(DECISIONS, 1):
        text = page.read_text()
        assert page.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number}. ")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], page.name


def test_the_changelog_begins_with_this_version() -> None:
    newest = re.search(r"^## \[(\S+)\] - \d{4}-\d{2}-\d{2}$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == VERSION

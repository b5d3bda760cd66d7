"""Origins and hosts: which pages of a browser get in, judged without a service."""

from typing import Any

import pytest

from service.edge.auth import LoopbackGuard, origin_allowed


def scope(*headers: tuple[str, str], kind: str = "websocket", path: str = "/v1/ws") -> dict[str, Any]:
    return {"type": kind, "path": path, "headers": [(name.encode(), value.encode()) for name, value in headers]}


ALLOWED = ("https://chat.example", "capacitor://localhost")


@pytest.mark.parametrize(
    ("origin", "host", "fits"),
    (
        ("https://chat.example", "inboxd.example", True),
        ("capacitor://localhost", "inboxd.example", True),
        ("https://inboxd.example", "inboxd.example", True),
        ("http://inboxd.example:8000", "inboxd.example:8000", True),
        ("https://inboxd.example", "inboxd.example:443", True),
        ("http://inboxd.example:80", "inboxd.example", True),
        ("https://inboxd.example", "inboxd.example:80", False),
        ("https://inboxd.example:8443", "inboxd.example", False),
        ("https://evil.example", "inboxd.example", False),
        ("https://chat.example.evil", "inboxd.example", False),
        ("https://inboxd.example@evil.example", "inboxd.example", False),
        ("null", "inboxd.example", False),
        ("null", "", False),
        ("", "", False),
        ("", "inboxd.example", False),
        ("http://[", "[", False),
        ("http://[::1]:8000", "[::1]:8000", True),
    ),
)
def test_a_page_of_its_own_or_of_a_listed_origin_may_open_a_socket(origin: str, host: str, fits: bool) -> None:
    assert origin_allowed(scope(("origin", origin), ("host", host)), ALLOWED) is fits


def test_who_is_no_browser_names_no_origin() -> None:
    assert origin_allowed(scope(("host", "inboxd.example")), ())


def test_two_origins_are_no_origin() -> None:
    good = ("origin", "https://chat.example")
    assert not origin_allowed(scope(good, good, ("host", "inboxd.example")), ALLOWED)


async def let_through(*headers: tuple[str, str], path: str = "/v1/inbox") -> bool:
    """Whether the guard passes a request on."""
    passed: list[str] = []

    async def app(*_: object) -> None:
        passed.append("on")

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 403

    async def receive() -> Any:
        return {"type": "http.request"}

    await LoopbackGuard(app, ALLOWED)(scope(*headers, kind="http", path=path), receive, send)
    return bool(passed)


@pytest.mark.parametrize("host", ("localhost", "LOCALHOST:8000", "127.0.0.1", "127.8.8.8:1", "[::1]", "[::1]:8000"))
async def test_this_machine_may_be_named_in_any_way(host: str) -> None:
    assert await let_through(("host", host))


@pytest.mark.parametrize(
    "hosts",
    ((), ("",), ("evil.example",), ("localhost.evil.example",), ("[::",), ("localhost", "evil.example"), ("10.0.0.1",)),
    ids=str,
)
async def test_another_host_or_none_or_two_are_refused(hosts: tuple[str, ...]) -> None:
    assert not await let_through(*(("host", host) for host in hosts))


async def test_another_sites_page_may_look_at_pages_and_not_call_the_api() -> None:
    elsewhere = (("host", "localhost"), ("origin", "https://evil.example"))
    assert await let_through(*elsewhere, path="/docs")
    assert not await let_through(*elsewhere)
    assert not await let_through(("host", "localhost"), ("origin", "http://["))
    assert not await let_through(("host", "localhost"), ("sec-fetch-site", "cross-site"))
    assert await let_through(("host", "localhost"), ("origin", "https://chat.example"))

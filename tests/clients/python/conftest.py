"""A scripted server, and clients of one device on one file."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from inboxd_client import (
    InboxClient,
)

from tests.clients.python.helpers import QUICK
from tests.clients.scripted.server import ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """At the end it must not have caught a client at fault."""
    async with ScriptedServer() as server:
        yield server
    assert server.breaches == []


@pytest.fixture
def client(server: ScriptedServer, tmp_path: Path) -> Callable[..., InboxClient]:
    """Makes clients of bob's phone, all on the same file."""

    def make(**more: Any) -> InboxClient:
        options = {"user": "bob", "device": "phone", "storage": tmp_path / "bob.sqlite3", "timing": QUICK, **more}
        return InboxClient(server.url, **options)

    return make

"""One process of each client serves all scenarios of a module, as long as they go well."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conformance.driver import KINDS
from tests.clients.conformance.stage import Stage
from tests.clients.scripted.server import ScriptedServer

Open = Callable[..., Awaitable[Stage]]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


async def opened(stack: AsyncExitStack, kind: str, folder: Path, **options: Any) -> Stage:
    server = await stack.enter_async_context(ScriptedServer())
    stage = Stage(server, kind, folder, **options)
    stack.push_async_callback(stage.close)
    await stage.start()
    return stage


@pytest.fixture(scope="module")
async def kept(kind: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Open]:
    """The stage of this module, anew where a scenario has spoiled it."""
    async with AsyncExitStack() as stack:
        stages: list[Stage] = []

        async def current() -> Stage:
            if not stages or stages[-1].spoiled:
                if stages:
                    await stages[-1].close()
                stages.append(await opened(stack, kind, tmp_path_factory.mktemp(kind)))
            stages[-1].spoiled = True
            return stages[-1]

        yield current


@pytest.fixture
async def stage(kept: Open) -> Stage:
    """A client that is live; a scenario ends with `settled`."""
    stage = await kept()
    await stage.live()
    return stage


@pytest.fixture
async def fresh(kind: str, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens stages that are this test's alone; keywords are the driver's options."""
    async with AsyncExitStack() as stack:

        async def open_one(**options: Any) -> Stage:
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            return await opened(stack, kind, folder, **options)

        yield open_one

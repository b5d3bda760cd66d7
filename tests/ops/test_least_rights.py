"""The commands that read the store need no more than the operators' page grants the service."""

import asyncio

import pytest
import typer
from typer.testing import CliRunner

from scripts.lab.redis_server import RedisServer
from service.ops.views import register
from tests.ops import example

APP = typer.Typer()
register(APP)


@pytest.mark.parametrize("command", (("inbox", "bob"), ("workers", "--who"), ("doctor",), ("audit",)))
def test_a_command_asks_for_nothing_that_is_refused(
    command: tuple[str, ...], admin_url: str, redis_server: RedisServer
) -> None:
    asyncio.run(example.build(admin_url))
    before = redis_server.refusals()
    result = CliRunner().invoke(APP, [*command, "--redis-url", redis_server.service_url])
    assert result.exit_code in (0, 1), result.output  # the example has a dead worker, which some call bad news
    assert "permission" not in result.output
    assert redis_server.refusals() == before
    assert redis_server.rights is not None
    assert redis_server.rights.password not in result.output

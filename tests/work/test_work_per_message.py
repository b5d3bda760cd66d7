"""The work of a message, counted. Nothing here looks at a clock: it is as steady on a slow machine as on a fast one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.lab.redis_server import RedisServer
from tests.work.counting import Calls
from tests.work.record import COLUMNS, PLACE, Work, read, written
from tests.work.runs import RUNS, counted

MORE = {"service": 1.15, "libraries": 1.4, "scripts": 1.25, "server": 1.15}
"""How much more than recorded still passes. Libraries may grow with their versions, and hints cross now and then."""
LESS = 0.6
"""Less than this is good, but then what was recorded guards nothing any more."""
SLACK = 0.1
"""Calls: what is near nothing may double."""
RENEW = "If that is meant, renew the table: python -m tests.work (--show tells what is called), and say why."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server of its own: nobody else's calls are among those that are counted."""
    server = RedisServer(tmp_path_factory.mktemp("work"))
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("name", RUNS)
async def test_a_message_takes_as_many_calls_as_are_recorded(name: str, server: RedisServer) -> None:
    was = read(PLACE.read_text())[name]
    now, most = await counted(server, name)
    called = "".join(f"\n  {count:8.2f}  {what}" for what, count in most)
    for column in COLUMNS:
        before, found = getattr(was, column), getattr(now, column)
        assert found <= before * MORE[column] + SLACK, f"{column}: {found}, recorded {before}. {RENEW}{called}"
        assert found >= before * LESS - SLACK, f"{column}: only {found}, recorded {before}. {RENEW}"


def test_the_table_has_each_run_and_is_written_as_it_is_read() -> None:
    text = PLACE.read_text()
    assert tuple(read(text)) == RUNS
    assert written(read(text)) == text


def test_what_is_not_the_services_own_is_told_apart() -> None:
    calls = Calls()
    calls.start()
    try:
        written({"nothing": Work(0, 0, 0, 0)})
        with calls.rest():
            Path("/").resolve()
    finally:
        calls.stop()
    assert (calls.ours, calls.libraries) == (0, 0)

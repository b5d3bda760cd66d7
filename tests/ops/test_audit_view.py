"""`inboxd audit` as it is typed: what it writes, and how it ends."""

import json
import os
import re
import subprocess
import sys

import pytest

from scripts.lab.ports import free_port
from scripts.lab.service import ROOT
from scripts.lab.timing import PATIENCE
from tests.ops import example, redis_cli
from tests.ops.page import PAGE


def inboxd(*words: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("INBOXD_")}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *words],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture
async def url(redis_url: str) -> str:
    """Of a server that holds the example of the operators' page."""
    await example.build(redis_url)
    return redis_url


async def test_a_clean_server_is_told_so_as_the_operators_page_shows(url: str) -> None:
    shown = re.search(r"^\$ inboxd audit\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert shown
    done = inboxd("audit", "--redis-url", url)
    assert (done.returncode, done.stdout, done.stderr) == (0, shown[1], "")


async def test_what_is_off_is_named_and_the_exit_code_is_1(url: str) -> None:
    redis_cli.run(url, "HSET", "chat:state:{bob}", "online", "0")
    done = inboxd("audit", "--redis-url", url)
    assert done.returncode == 1
    assert "off\tonline\tchat:state:{bob}\tonline is 0, with 1 devices connected\n" in done.stdout
    assert done.stdout.endswith("1 off\n")
    answer = json.loads(inboxd("audit", "--redis-url", url, "--json", "--entries").stdout)
    assert not answer["clean"]
    assert answer["complete"]
    assert answer["totals"]["given"] == answer["totals"]["present"] == 4
    assert [finding["law"] for finding in answer["findings"]] == ["online"]


async def test_a_note_alone_is_clean(url: str) -> None:
    redis_cli.run(url, "HDEL", "chat:cursors:{bob}", "laptop")
    redis_cli.run(url, "HDEL", "chat:devices:{bob}", "laptop")
    done = inboxd("audit", "--redis-url", url)
    assert done.returncode == 0
    assert "note\tdevices" in done.stdout
    assert done.stdout.endswith("clean\n")


def test_a_server_that_is_not_there_is_neither_clean_nor_off() -> None:
    done = inboxd("audit", "--redis-url", f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "does not answer" in done.stderr

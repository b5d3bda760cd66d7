"""The quickstarts of docs/clients.md, typed as they stand."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, eventually_async
from tests.house.test_documents import blocks, section
from tests.house.tree import ROOT
from tests.support.api import Api

GUIDE = (ROOT / "docs/clients.md").read_text()


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


def quickstart(title: str, language: str) -> str:
    """The last block in that language below a heading."""
    return [text for name, text in blocks(section(GUIDE, title)) if name == language][-1]


async def test_the_python_quickstart_answers_each_message(service: Service, tmp_path: Path) -> None:
    program = quickstart("Python", "python").replace("http://127.0.0.1:8000", service.url)
    async with Api(service.url, "alice") as alice:
        await alice.send("bob", {"text": "hi"}, "m-1")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-u", "-c", program,
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT / "clients/python")}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            answers = await alice.http.get("/v1/inbox", params={"device": "phone", "wait": 20}, timeout=PATIENCE)
            assert [entry["body"] for entry in answers.json()["entries"]] == [{"text": "thank you"}]
        finally:
            process.terminate()
            out, _ = await process.communicate()
        assert out.decode() in {"alice {'text': 'hi'}\n", "alice {'text': 'hi'}\nbob {'text': 'thank you'}\n"}
        assert (tmp_path / "bob.sqlite").exists()


async def test_the_curl_quickstart_sends_receives_and_acks(service: Service) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    async with Api(service.url, "bob") as bob:
        await bob.http.get("/v1/inbox", params={"device": "shell"})
        sent, polled, acked = (
            command.replace("http://127.0.0.1:8000", service.url).replace("curl ", "curl --fail ")
            for command in quickstart("curl", "sh").replace("\\\n", " ").splitlines()
        )
        assert '"id":"m-2"' in await typed(sent)
        cursor = (await typed(polled)).rpartition('"cursor":"')[2].partition('"')[0]
        await typed(acked.replace("CURSOR", cursor))

        async def stored() -> bool:
            return bool(await bob.stored("bob", "shell") == cursor)

        await eventually_async(stored, "the ack is stored")


async def typed(command: str) -> str:
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, command
    return out.decode()

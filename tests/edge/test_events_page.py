"""The protocol page's examples of event streams do what the page says: typed with curl, run in Node."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, eventually_async
from scripts.tools import NO_NODE, node
from tests.edge.conftest import by_token
from tests.house.test_documents import PROTOCOL, blocks, section
from tests.support.api import Api
from tests.support.event_text import Event, EventText
from tests.support.issuer import Issuer

SECTION = section(PROTOCOL, "`GET /v1/events?device=&window=&stream=`")
CURSOR = "1795350000123-1"
TIME_IS_OVER = 28
"""curl's exit code at the end of `--max-time`: a stream has no other end."""


async def typed(command: str, service: Service, user: str, cursor: str) -> str:
    """What a command of the page answers, with names of this test's own."""
    command = command.replace("http://127.0.0.1:8000", service.url).replace(CURSOR, cursor)
    command = command.replace("X-Inboxd-User: bob", f"X-Inboxd-User: {user}")
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(PATIENCE):
        output, _ = await process.communicate()
    assert process.returncode in (0, TIME_IS_OVER), output
    return output.decode()


def read(output: str) -> list[Event]:
    return EventText().feed(output.encode())


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
async def test_the_curl_commands_receive_ack_and_go_on(service: Service, api: Api, bob: str) -> None:
    receive, ack, go_on = [text.strip() for language, text in blocks(SECTION) if language == "sh"]
    sent = await api.send(bob, {"text": "hi"}, "m-1")
    cursor = sent["recipients"][0]["cursor"]
    shown = next(text for language, text in blocks(SECTION) if language == "text")
    events = read(await typed(receive, service, bob, cursor))
    assert [event.type for event in events] == ["welcome", "message", "live"]
    assert [event.type for event in read(shown)] == ["welcome", "message", "live"]
    assert events[1].id == cursor
    assert await typed(ack, service, bob, cursor) == ""
    assert await api.stored(bob, "web") == cursor
    await api.send(bob, "later", "m-2")
    again = read(await typed(go_on, service, bob, cursor))
    assert [json.loads(event.data).get("id") for event in again] == [None, "m-2", None]


@pytest.mark.skipif(node() is None, reason=NO_NODE)
async def test_the_reader_for_fetch_follows_a_stream_over_its_ends(
    guarded: Service, tmp_path: Path, alice: str, bob: str
) -> None:
    """It runs in Node as it stands on the page; what is around it is the loop that each client needs."""
    follow = next(text for language, text in blocks(SECTION) if text.startswith("export async function follow"))
    (tmp_path / "follow.mjs").write_text(follow)
    (tmp_path / "main.mjs").write_text(
        """
        import { follow } from "./follow.mjs";
        const [url, token] = process.argv.slice(2);
        const seen = {};
        const tell = async (frame) => console.log(JSON.stringify(frame));
        for (let wait = 0; wait !== null; ) {
          await new Promise((done) => setTimeout(done, Math.min(wait, 50)));
          wait = await follow(url, token, seen, tell).catch(() => 50);
        }
        console.log(JSON.stringify({ type: "stays away" }));
        """
    )
    url = f"{guarded.url}/v1/events?device=node&stream=tab-1"
    found = node()
    assert found is not None
    process = await asyncio.create_subprocess_exec(
        found.program, "main.mjs", url, Issuer().token(bob), cwd=tmp_path, stdout=subprocess.PIPE, env=os.environ
    )
    told: list[dict[str, Any]] = []

    async def until(kind: str, count: int) -> None:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while sum(frame["type"] == kind for frame in told) < count:
                told.append(json.loads(await process.stdout.readline()))

    async with Api(guarded.url, token=Issuer().token(alice, "send:any")) as api:
        await until("live", 1)
        await api.send(bob, "zwölf\n\n" * 1000, "m-1")
        await until("message", 1)
        holder = guarded.worker(told[0]["worker"])
        os.kill(holder.pid, 9)
        await until("live", 2)
        await api.send(bob, "after", "m-2")
        await until("message", 2)
        assert [frame["body"] for frame in told if frame["type"] == "message"] == ["zwölf\n\n" * 1000, "after"]

    async with Api(guarded.url) as operator:
        removed = f"/v1/ops/connections/{bob}"
        assert (await operator.http.delete(removed, headers=by_token())).status_code == 204
    await until("stays away", 1)
    assert await process.wait() == 0

    async def whole() -> bool:
        return len(guarded.workers()) == guarded.worker_count

    await eventually_async(whole, "the killed worker has its successor")

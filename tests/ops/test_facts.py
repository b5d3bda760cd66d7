import pytest

from scripts.lab.ports import free_port
from service.config import Settings
from service.core.errors import Unavailable
from service.ops import queries
from service.ops.facts import _pairs, gather
from service.store import scripts
from service.store.client import connect
from service.store.keys import Keys
from tests.ops import example

KEYS = Keys("chat:")


async def test_scripts_the_server_lacks_are_loaded_and_said_so(redis_url: str) -> None:
    client = connect(Settings(redis_url=redis_url))
    try:
        await client.run("SCRIPT", "FLUSH")
        first, second = await gather(client, []), await gather(client, [])
    finally:
        await client.aclose()
    names = {script.name for script in scripts.ALL}
    assert first.scripts == dict.fromkeys(names, "loaded")
    assert second.scripts == dict.fromkeys(names, "present")
    assert abs(first.skew) <= first.doubt + 50


async def test_settings_and_workers_are_among_the_facts(redis_url: str) -> None:
    await example.build(redis_url)
    client = connect(Settings(redis_url=redis_url))
    try:
        facts = await gather(client, await queries.workers(client, KEYS))
    finally:
        await client.aclose()
    assert facts.config["appendfsync"] == "always"
    assert facts.config["maxmemory-policy"] == "noeviction"
    assert facts.info["role"] == "master"
    assert facts.login == "default"
    assert [worker.worker for worker in facts.workers] == [example.ALIVE]


async def test_a_server_that_is_away_has_no_facts() -> None:
    client = connect(Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    try:
        with pytest.raises(Unavailable):
            await gather(client, [])
    finally:
        await client.aclose()


def test_settings_are_read_in_either_shape_of_the_wire() -> None:
    assert _pairs([b"a", b"1", b"b", b"2"]) == _pairs({b"a": b"1", b"b": b"2"}) == {"a": "1", "b": "2"}
    assert _pairs(PermissionError()) == {}

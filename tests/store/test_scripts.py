"""Scripts: found beside the code, known by their hash, loaded when a server lacks them."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import pytest

from service.core.sending import AppendStatus
from service.store import scripts
from service.store.link import Command, Wait
from service.store.presence import Claim
from service.store.scripts import Script
from service.store.single import Single
from tests.store.conftest import Store, message

each = pytest.mark.parametrize("script", scripts.ALL, ids=lambda script: script.name)


def test_every_lua_file_is_a_script_of_the_catalogue() -> None:
    there = {path.name for path in (files("service.store") / "lua").iterdir()}
    assert there == {f"{script.name}.lua" for script in scripts.ALL}


@each
def test_a_script_is_known_by_the_hash_of_its_text(script: Script) -> None:
    assert script.sha == hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()


@each
async def test_the_server_takes_every_script_under_the_same_hash(real_store: Store, script: Script) -> None:
    assert (await real_store.do("SCRIPT", "LOAD", script.text)).decode() == script.sha


@each
def test_what_frees_memory_or_lets_a_device_in_may_run_without_memory(script: Script) -> None:
    first = script.text.splitlines()[0]
    coming_in = (scripts.APPEND, scripts.PUSH_REMIND, scripts.GROUP_COMMIT, scripts.GROUP_CHANGE)
    for_more = (*coming_in, scripts.GROUP_RENUMBER, scripts.HINT)
    assert first == ("#!lua" if script in for_more else "#!lua flags=allow-oom")


async def test_a_server_that_lost_its_scripts_gets_them_again(store: Store) -> None:
    await store.send("m1")
    await store.do("SCRIPT", "FLUSH")
    assert (await store.send("m2")).status is AppendStatus.APPENDED
    await store.do("SCRIPT", "FLUSH")
    assert await store.presence.claim(Claim("bob", "phone", "w-1", "s-1")) is not None
    assert len(await store.entries()) == 2


class TaughtBetween(Single):
    """A server that another worker tells the script between the first command and the others."""

    async def exchange(self, commands: Sequence[Command], wait: Wait | None = None) -> list[Any]:
        first = await super().exchange(commands[:1], wait)
        await self.run("SCRIPT", "LOAD", scripts.APPEND.text)
        return [*first, *(await super().exchange(commands[1:], wait) if commands[1:] else [])]


async def test_no_part_of_a_large_batch_overtakes_one_that_the_server_had_no_script_for(
    real_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = real_store
    monkeypatch.setattr(store.appends, "_write", TaughtBetween(store.clients.write.redis))
    await store.do("SCRIPT", "FLUSH")
    rows = await store.append([message(f"m{n}", "bob") for n in range(300)], own_copy=False)
    assert [row[0].cursor.seq for row in rows if row[0].cursor] == list(range(1, 301))

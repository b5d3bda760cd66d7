"""What the audit reads of a real server."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from service.config import Settings
from service.core.cursor import START, Cursor
from service.core.errors import Unavailable
from service.ops import audit_reads
from service.ops.audit_reads import ask, users
from service.store.client import connect
from service.store.keys import Keys
from service.store.link import Link

KEYS = Keys("chat:")


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[Link]:
    async with aclosing(connect(Settings(redis_url=redis_url))) as link:
        yield link


async def fill(link: Link, count: int) -> None:
    for number in range(1, count + 1):
        fields = ("kind", "message", "id", f"m{number}", "from", "alice", "to", "bob", "body", "1")
        await link.run("XADD", KEYS.inbox("bob"), f"5-{number}", *fields)
    await link.run("HSET", KEYS.state("bob"), "last", f"5-{count}")


async def test_a_stream_is_told_with_what_it_was_ever_given(link: Link) -> None:
    await fill(link, 5)
    await link.run("XTRIM", KEYS.inbox("bob"), "MINID", "5-3")
    await link.run("XDEL", KEYS.inbox("bob"), "5-4")
    (user,) = await users(link, KEYS, ["bob"], entries=False)
    assert user.stream is not None
    assert (user.stream.length, user.stream.added) == (2, 5)
    assert (user.stream.first, user.stream.last, user.stream.newest_id) == (Cursor(5, 3), Cursor(5, 5), Cursor(5, 5))
    assert user.stream.deleted == Cursor(5, 4)
    assert user.entries is not None, "entries are read where the count is off"
    assert user.entries.holes == [(Cursor(5, 3), Cursor(5, 5))]


async def test_nobody_is_an_empty_user(link: Link) -> None:
    (user,) = await users(link, KEYS, ["nobody"], entries=True)
    assert (user.stream, user.last, user.presence, user.seen) == (None, START, {}, [])
    assert user.lives[KEYS.inbox("nobody")] == -2


@pytest.mark.parametrize("count", (99, 100, 101, 200))
async def test_entries_are_read_page_by_page_to_the_last(link: Link, count: int) -> None:
    await fill(link, count)
    await link.run("XADD", KEYS.inbox("bob"), f"6-{count + 2}", "kind", "something else")
    (user,) = await users(link, KEYS, ["bob"], entries=True)
    assert user.entries is not None
    assert user.entries.holes == [(Cursor(5, count), Cursor(6, count + 2))]
    assert user.entries.unreadable == [Cursor(6, count + 2)]


async def test_a_dedupe_hash_that_grows_while_it_is_read_is_no_finding(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(link, 1)
    pairs = [word for number in range(2000) for word in (f"m/alice/x{number}", "5-1 0123")]
    await link.run("HSET", KEYS.seen("bob", "a"), *pairs)
    once: list[bool] = []

    async def grows(link: Link, *commands: tuple[object, ...]) -> list[object]:
        if commands and commands[0][0] == "HSCAN" and not once:
            once.append(True)
            await link.run("HSET", KEYS.state("bob"), "last", "5-2")
            await link.run("HSET", KEYS.seen("bob", "a"), *(word for n in range(2000) for word in (f"y{n}", "5-2 0")))
        return await ask(link, *commands)

    monkeypatch.setattr(audit_reads, "ask", grows)
    (user,) = await users(link, KEYS, ["bob"], entries=False)
    assert once
    assert user.seen == []


async def test_a_claim_given_back_while_it_is_read_is_no_finding(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    await link.run("HSET", KEYS.presence("bob"), "phone", "w-1/s-1/0", "laptop", "w-1/s-2/0")

    async def released(link: Link, *commands: tuple[object, ...]) -> list[object]:
        if commands and commands[0][0] == "SISMEMBER":
            await link.run("HDEL", KEYS.presence("bob"), "phone")
        return await ask(link, *commands)

    monkeypatch.setattr(audit_reads, "ask", released)
    (user,) = await users(link, KEYS, ["bob"], entries=False)
    assert user.enlisted == {"phone": True, "laptop": False}


async def test_another_type_is_nothing_and_any_other_error_is_unavailable(link: Link) -> None:
    await link.run("SET", "s", 1)
    assert await ask(link, ("HGETALL", "s"), ("XINFO", "STREAM", "nothing"), ("GET", "s")) == [None, None, b"1"]
    with pytest.raises(Unavailable):
        await ask(link, ("NOSUCHCOMMAND", "s"))

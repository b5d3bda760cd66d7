"""block.lua: the row and the flag that appends look at change together."""

import pytest

from service.core.errors import ClientError, Unavailable
from service.core.sending import AppendStatus
from service.store import blocks as module
from service.store.blocks import Blocks
from tests.store.conftest import Store, accepted, message


@pytest.fixture
def blocks(store: Store) -> Blocks:
    return Blocks(store.clients.rest, store.keys)


async def test_who_is_blocked_is_refused_until_unblocked(store: Store, blocks: Blocks) -> None:
    await blocks.block("bob", "alice")
    assert (await store.send("m1")).status is AppendStatus.REFUSED
    assert await store.entries() == []
    await blocks.unblock("bob", "alice")
    assert (await store.send("m1")).status is AppendStatus.APPENDED


async def test_others_still_reach_the_user_and_the_user_reaches_everybody(store: Store, blocks: Blocks) -> None:
    await blocks.block("bob", "mallory")
    assert (await store.send("m1")).status is AppendStatus.APPENDED
    assert (await store.send("m2", "mallory", sender="bob")).status is AppendStatus.APPENDED


async def test_a_list_is_refused_for_those_alone_who_have_blocked_the_sender(store: Store, blocks: Blocks) -> None:
    await blocks.block("bob", "alice")
    [results] = await store.append([message("m1", "dave", "bob", "carol")], own_copy=True)
    statuses = [result.status for result in results[:3]]
    assert statuses == [AppendStatus.APPENDED, AppendStatus.REFUSED, AppendStatus.APPENDED]


async def test_a_message_accepted_before_the_block_is_answered_as_accepted(store: Store, blocks: Blocks) -> None:
    first = accepted(await store.send("m1"))
    await blocks.block("bob", "alice")
    again = await store.send("m1")
    assert (again.status, again.cursor) == (AppendStatus.DUPLICATE, first)


async def test_the_flag_falls_with_the_last_that_is_unblocked(store: Store, blocks: Blocks) -> None:
    await blocks.block("bob", "mallory")
    await blocks.block("bob", "trudy")
    await blocks.unblock("bob", "mallory")
    assert (await store.state())["blocks"] == "1"
    await blocks.unblock("bob", "trudy")
    assert (await store.state())["blocks"] == "0"
    assert await blocks.of("bob") == []


async def test_a_flag_that_was_lost_is_set_by_the_next_block(store: Store, blocks: Blocks) -> None:
    await blocks.block("bob", "alice")
    await store.do("DEL", store.keys.state("bob"))
    await blocks.block("bob", "alice")
    assert (await store.send("m1")).status is AppendStatus.REFUSED


async def test_unblocking_who_is_not_blocked_writes_nothing(store: Store, blocks: Blocks) -> None:
    await blocks.unblock("bob", "alice")
    assert await store.do("EXISTS", store.keys.state("bob"), store.keys.blocks("bob")) == 0


async def test_there_are_only_so_many_and_those_may_be_said_again(
    store: Store, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BLOCKED", 2)
    await blocks.block("bob", "b")
    await blocks.block("bob", "a")
    with pytest.raises(ClientError, match="too_many_blocks"):
        await blocks.block("bob", "c")
    await blocks.block("bob", "a")
    assert await blocks.of("bob") == ["a", "b"]
    await blocks.unblock("bob", "b")
    await blocks.block("bob", "c")


async def test_a_long_list_is_told_whole(store: Store, blocks: Blocks) -> None:
    names = sorted(f"u{number}" for number in range(1500))
    await store.do("SADD", store.keys.blocks("bob"), *names)
    assert await blocks.of("bob") == names


async def test_pairs_are_looked_up_together(store: Store, blocks: Blocks) -> None:
    await blocks.block("bob", "alice")
    await blocks.block("carol", "bob")
    pairs = [("bob", "alice"), ("alice", "bob"), ("carol", "alice"), ("carol", "bob")]
    assert await blocks.between(pairs) == dict(zip(pairs, (True, False, False, True), strict=True))
    assert await blocks.between([]) == {}
    await store.do("SET", store.keys.blocks("ghost"), "x")
    told = await blocks.between([("ghost", "alice"), ("bob", "alice")])
    assert isinstance(told["ghost", "alice"], Unavailable)
    assert told["bob", "alice"] is True

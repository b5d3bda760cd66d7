"""Worker streams: hints and controls as readable fields; only the worker itself makes its stream.

Blocking reads run on the real server alone.
"""

import asyncio

import pytest

from scripts.lab.timing import PATIENCE, UNIT, eventually_async
from service.core.cursor import Cursor
from service.store.worker_stream import CANARY, CAP, KICK, READ_COUNT, Control, Hint, hint_field, read_field
from tests.store.conftest import Store

PREV, NEXT = Cursor(1000, 1), Cursor(1001, 2)
HINT = Hint("bob", PREV, NEXT, b'{"type":"message"}')


# Fields.


def test_a_hint_is_a_field_an_operator_can_read() -> None:
    assert hint_field(HINT) == ("bob/1000-1/1001-2", b'{"type":"message"}')


def test_a_hint_without_its_entry_is_an_empty_field() -> None:
    assert hint_field(Hint("bob", PREV, NEXT, None)) == ("bob/1000-1/1001-2", b"")
    assert read_field(b"bob/1000-1/1001-2", b"") == [Hint("bob", PREV, NEXT, None)]


def test_what_is_written_is_read_again() -> None:
    name, value = hint_field(HINT)
    assert isinstance(value, bytes)
    assert read_field(name.encode(), value) == [HINT]


def test_one_field_may_stand_for_several_recipients() -> None:
    assert read_field(b"bob/1000-1/1001-2 a:b@c/0-0/5-1", b"{}") == [
        Hint("bob", PREV, NEXT, b"{}"),
        Hint("a:b@c", Cursor(0, 0), Cursor(5, 1), b"{}"),
    ]


def test_a_control_is_a_field_that_no_user_can_be_named_like() -> None:
    assert read_field(b"!kick", b"bob/phone") == [Control("!kick", "bob/phone")]


@pytest.mark.parametrize(
    "name",
    (b"", b"bob", b"bob/1-1", b"bob/1-1/", b"bob/x/1-1", b"bob/1-1/1-1/1-1", b"bob/1-1/2-2 ", b"\xff/1-1/2-2"),
)
def test_a_field_of_another_form_is_a_value_error(name: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_field(name, b"{}")


def test_a_control_whose_value_is_no_text_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_field(b"!kick", b"\xff")


# Announcing.


async def test_a_stream_that_is_not_there_is_not_made(store: Store) -> None:
    assert await store.streams.announce([("w-1", [hint_field(HINT)])]) == [None]
    assert await store.do("EXISTS", store.keys.worker("w-1")) == 0


async def test_each_worker_gets_one_entry_with_all_its_fields(store: Store) -> None:
    await store.streams.position("w-1")
    second = Hint("carol", PREV, NEXT, None)
    told = await store.streams.announce([("w-1", [hint_field(HINT), hint_field(second)]), ("w-2", [hint_field(HINT)])])
    assert told == [True, None]
    rows = await store.do("XRANGE", store.keys.worker("w-1"), "-", "+")
    assert len(rows) == 2
    assert rows[1][1] == {b"bob/1000-1/1001-2": b'{"type":"message"}', b"carol/1000-1/1001-2": b""}


async def test_one_worker_whose_stream_is_broken_harms_no_other(store: Store) -> None:
    await store.do("SET", store.keys.worker("w-1"), "not a stream")
    await store.streams.position("w-2")
    told = await store.streams.announce([("w-1", [hint_field(HINT)]), ("w-2", [hint_field(HINT)])])
    assert told == [False, True]


async def test_announcing_nothing_is_no_trouble(store: Store) -> None:
    assert await store.streams.announce([]) == []


async def test_a_control_says_whether_anybody_is_there_to_hear_it(store: Store) -> None:
    assert not await store.streams.tell("w-1", KICK, "bob")
    await store.streams.position("w-1")
    assert await store.streams.tell("w-1", KICK, "bob")


async def test_a_stream_nobody_reads_is_capped(real_store: Store) -> None:
    await real_store.streams.position("w-1")
    field = [hint_field(Hint("bob", PREV, NEXT, None))]
    for _ in range(CAP // 1000 + 3):
        await real_store.streams.announce([("w-1", field)] * 1000)
    assert CAP <= await real_store.do("XLEN", real_store.keys.worker("w-1")) < CAP + 1000


async def test_what_is_announced_goes_neither_into_the_file_nor_to_replicas(real_store: Store) -> None:
    """A recipient would wait for the disk; what else is written still goes there."""
    await real_store.streams.position("w-1")
    field = [hint_field(HINT)]
    await real_store.streams.announce([("w-1", field)])  # the server knows the script
    offset = (await real_store.raw.info("replication"))["master_repl_offset"]
    size = (await real_store.raw.info("persistence"))["aof_current_size"]
    assert await real_store.streams.announce([("w-1", field)] * 100) == [True] * 100
    assert (await real_store.raw.info("persistence"))["aof_current_size"] == size
    assert (await real_store.raw.info("replication"))["master_repl_offset"] == offset
    await real_store.streams.position("w-1")
    assert (await real_store.raw.info("persistence"))["aof_current_size"] > size


async def test_an_entry_of_64_kib_of_the_shortest_hints_is_taken(real_store: Store) -> None:
    await real_store.streams.position("w-1")
    hints = [hint_field(Hint("b", Cursor(0, 0), Cursor(1795350000123, n), None)) for n in range(3200)]
    assert await real_store.streams.announce([("w-1", hints)]) == [True]


# Position.


async def test_a_position_makes_the_stream_and_is_its_newest_id(store: Store) -> None:
    position = await store.streams.position("w-1")
    [(id, fields)] = await store.do("XRANGE", store.keys.worker("w-1"), "-", "+")
    assert (id.decode(), list(fields)) == (position, [CANARY.encode()])


async def test_a_position_is_beyond_everything_ever_there(store: Store) -> None:
    first = await store.streams.position("w-1")
    await store.streams.tell("w-1", KICK, "bob")
    await store.do("XTRIM", store.keys.worker("w-1"), "MAXLEN", 0)
    second = await store.streams.position("w-1")
    assert tuple(map(int, second.split("-"))) > tuple(map(int, first.split("-")))
    assert await store.do("XLEN", store.keys.worker("w-1")) == 1


# Reading.


async def test_what_comes_after_the_position_is_read_in_order(real_store: Store) -> None:
    streams = real_store.streams
    position = await streams.position("w-1")
    await streams.announce([("w-1", [hint_field(HINT)])])
    await streams.tell("w-1", KICK, "bob")
    position, events, unreadable = await streams.read("w-1", position, block=PATIENCE)
    assert events == [HINT, Control(KICK, "bob")]
    assert unreadable == 0
    assert await streams.read("w-1", position, block=0.01 * UNIT) == (position, [], 0)


async def test_two_controls_of_one_name_in_one_entry_are_both_read(real_store: Store) -> None:
    streams = real_store.streams
    position = await streams.position("w-1")
    await streams.announce([("w-1", [(KICK, "bob"), (KICK, "carol")])])
    _, events, _ = await streams.read("w-1", position, block=PATIENCE)
    assert events == [Control(KICK, "bob"), Control(KICK, "carol")]


async def test_a_read_waits_for_what_comes(real_store: Store) -> None:
    streams = real_store.streams
    position = await streams.position("w-1")
    reading = asyncio.ensure_future(streams.read("w-1", position, block=PATIENCE / 2))

    async def waits() -> bool:
        return b"cmd=xread" in await real_store.do("CLIENT", "LIST")

    await eventually_async(waits, "the reader waits")
    await streams.tell("w-1", KICK, "bob")
    _, events, _ = await reading
    assert events == [Control(KICK, "bob")]


async def test_a_read_of_a_stream_that_is_gone_finds_nothing(real_store: Store) -> None:
    position = await real_store.streams.position("w-1")
    await real_store.do("DEL", real_store.keys.worker("w-1"))
    assert await real_store.streams.read("w-1", position, block=0.01 * UNIT) == (position, [], 0)


async def test_fields_that_cannot_be_read_are_counted_and_passed_over(real_store: Store) -> None:
    position = await real_store.streams.position("w-1")
    key = real_store.keys.worker("w-1")
    await real_store.do("XADD", key, "*", "rubbish", "1", "bob/1000-1/1001-2", "{}", b"\xff\xfe", "2")
    newest = await real_store.do("XADD", key, "*", "more", "rubbish")
    position, events, unreadable = await real_store.streams.read("w-1", position, block=PATIENCE)
    assert events == [Hint("bob", PREV, NEXT, b"{}")]
    assert unreadable == 3
    assert position == newest.decode()


async def test_a_long_stream_is_read_in_pieces(real_store: Store) -> None:
    streams = real_store.streams
    position = await streams.position("w-1")
    total = READ_COUNT + 10
    await streams.announce([("w-1", [(KICK, str(n))]) for n in range(total)])
    heard: list[str] = []
    while len(heard) < total:
        position, events, _ = await streams.read("w-1", position, block=PATIENCE)
        assert 0 < len(events) <= READ_COUNT
        heard += [event.value for event in events if isinstance(event, Control)]
    assert heard == [str(n) for n in range(total)]


async def test_what_was_read_is_trimmed_and_nothing_else(real_store: Store) -> None:
    streams = real_store.streams
    await streams.position("w-1")
    await streams.announce([("w-1", [(KICK, str(n))]) for n in range(400)])
    rows = await real_store.do("XRANGE", real_store.keys.worker("w-1"), "-", "+")
    position = rows[250][0].decode()
    await streams.trim("w-1", position)
    left = [id.decode() for id, _ in await real_store.do("XRANGE", real_store.keys.worker("w-1"), "-", "+")]
    assert len(left) < 300
    assert left[-151:] == [id.decode() for id, _ in rows[250:]]

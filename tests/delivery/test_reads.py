"""Reads: receipt, mark and entry, each once, wherever it breaks off between them."""

from typing import Any

import pytest

from service.core.errors import ClientError, Unavailable
from service.core.frames import ReadUpto
from service.delivery.worker import Worker
from tests.delivery.rig import Client, a_message, connect, send, troubled

M1 = ReadUpto(**{"from": "alice", "upto": "m1"})


async def both(worker: Worker) -> tuple[Client, Client]:
    """Alice, and Bob, who has her first message."""
    alice, bob = await connect(worker, "alice", "desk"), await connect(worker)
    await send(worker, a_message("m1"))
    await bob.come(1)
    return alice, bob


async def test_sender_and_reader_are_told_once_however_often_it_is_said(worker: Worker, store: Any) -> None:
    alice, bob = await both(worker)
    for _ in range(3):
        await worker.reads.take("bob", M1)
    entry = await bob.next("read")
    assert (entry["from"], entry["upto"]) == ("alice", "m1")
    receipt = await alice.next("receipt")
    assert (receipt["kind"], receipt["target"], receipt["by"]) == ("read", "m1", "bob")
    assert (len(bob.of("read")), len(alice.of("receipt"))) == (1, 1)
    assert (await store.hget("chat:marks:{bob}", "read/user/alice")).startswith("m1 ")


@pytest.mark.parametrize("broken", ("before", "after"))
@pytest.mark.parametrize(
    ("part", "method", "call"), (("appends", "note", 1), ("marks", "move", 1), ("appends", "note", 2))
)
async def test_saying_it_again_finishes_what_broke_off(
    worker: Worker, store: Any, part: str, method: str, call: int, broken: str
) -> None:
    alice, bob = await both(worker)
    owner = getattr(worker, part)
    real = getattr(owner, method)
    calls = 0

    async def failing(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and broken == "before":
            raise Unavailable("as the test wants it")
        result = await real(*args)
        if calls == call:
            raise Unavailable("as the test wants it")
        return result

    setattr(owner, method, failing)
    with pytest.raises(Unavailable):
        await worker.reads.take("bob", M1)
    setattr(owner, method, real)
    await worker.reads.take("bob", M1)
    worker.recheck()  # what was appended and told to nobody is found so
    await bob.next("read")
    await alice.next("receipt")
    assert await store.xlen("chat:inbox:{bob}") == 2
    assert await store.xlen("chat:inbox:{alice}") == 2
    assert (await store.hget("chat:marks:{bob}", "read/user/alice")).startswith("m1 ")


async def test_what_is_not_known_is_refused(worker: Worker) -> None:
    await both(worker)
    with pytest.raises(ClientError) as refused:
        await worker.reads.take("bob", ReadUpto(**{"from": "alice", "upto": "m9"}))
    assert refused.value.fault.code == "no_such_message"
    with pytest.raises(ClientError) as refused:
        await worker.reads.take("bob", ReadUpto(group="team", upto=1))
    assert refused.value.fault.code == "no_such_group"


async def test_a_node_that_is_away_is_told(worker: Worker) -> None:
    await both(worker)
    trouble = troubled(worker.appends, "note")
    trouble.before = 1
    with pytest.raises(Unavailable):
        await worker.reads.take("bob", M1)

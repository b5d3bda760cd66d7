"""What is read is on disk before it counts as known, and before it is said."""

import asyncio
from typing import Any

import pytest
from inboxd_client.errors import StorageError
from inboxd_client.inbox import Inbox
from inboxd_client.reading import Reading
from inboxd_client.reads import Read, Reads
from inboxd_client.storage import Storage
from inboxd_client.timing import Timing


class Disk(Storage):
    """Full until there is room; slow until it is let go."""

    def __init__(self) -> None:
        super().__init__(None)
        self.is_full, self.go_on, self.begun = False, asyncio.Event(), asyncio.Event()
        self.go_on.set()
        self.asked = asyncio.Semaphore(0)
        self.written: list[Any] = []

    async def write(self, statements: Any) -> None:
        self.begun.set()
        self.asked.release()
        await self.go_on.wait()
        if self.is_full:
            raise StorageError("full", "disk full")
        self.written += [parameters for _, parameters in statements]


class Scene:
    """Of bob, who reads what alice wrote."""

    def __init__(self) -> None:
        self.disk, self.said = Disk(), list[str]()
        self.reads = Reads({}, Inbox("1-9", []))
        self.reading = Reading(self.reads, self.disk, lambda frame: self.said.append(frame["upto"]), Timing())

    async def read(self, n: int) -> None:
        await self.reading.read({"id": f"m{n}", "from": "alice", "cursor": f"1-{n}"}, "bob")

    @property
    def kept(self) -> list[str]:
        """In the order in which they reached the disk."""
        return [value.split('"')[3] for _, value in self.disk.written]


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_what_could_not_be_stored_is_not_known_and_the_next_call_stores_it(scene: Scene) -> None:
    scene.disk.is_full = True
    for _ in range(2):
        with pytest.raises(StorageError, match="disk full"):
            await scene.read(1)
    assert (scene.reads.to_say(), scene.said) == ([], [])
    scene.disk.is_full = False
    await scene.read(1)
    assert (scene.kept, scene.said) == (["m1"], ["m1"])


async def test_an_older_one_that_comes_meanwhile_waits_and_changes_nothing(scene: Scene) -> None:
    scene.disk.go_on.clear()
    calls = [asyncio.create_task(scene.read(n)) for n in (2, 1, 2)]
    await scene.disk.begun.wait()
    assert not any(call.done() for call in calls), "none returns before it is on disk"
    scene.disk.go_on.set()
    await asyncio.gather(*calls)
    assert (scene.kept, scene.said) == (["m2"], ["m2"])


async def test_a_call_that_is_cancelled_is_done_all_the_same(scene: Scene) -> None:
    scene.disk.go_on.clear()
    call = asyncio.create_task(scene.read(1))
    await scene.disk.begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    scene.disk.go_on.set()
    await scene.read(1)
    assert (scene.kept, scene.said) == (["m1"], ["m1"])


async def test_an_entry_that_comes_while_it_is_stored_covers_it(scene: Scene) -> None:
    scene.disk.go_on.clear()
    call = asyncio.create_task(scene.read(1))
    await scene.disk.begun.wait()
    further = Read(None, "alice", "m2", "1-2", stored=True)
    scene.reads.put(further)
    scene.disk.go_on.set()
    await call
    assert (scene.reads.to_say(), scene.said, scene.kept) == ([], [], ["m1", "m2"])
    assert scene.disk.written[-1] == (further.name, further.value)


async def test_one_that_goes_further_does_not_wait_for_the_one_before(scene: Scene) -> None:
    """So what is asked for behind them is on disk behind them."""
    scene.disk.go_on.clear()
    calls = [asyncio.create_task(scene.read(n)) for n in (1, 2, 3)]
    for _ in calls:
        await scene.disk.asked.acquire()
    scene.disk.go_on.set()
    await asyncio.gather(*calls)
    assert scene.kept == ["m1", "m2", "m3"]
    assert [read.upto for read in scene.reads.to_say()] == ["m3"]

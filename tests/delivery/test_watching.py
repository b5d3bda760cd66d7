"""Watching: what watchers are told of who comes and goes, and how little."""

import asyncio
from typing import Any

import pytest

from service.core.errors import ClientError, Unavailable
from service.delivery import watching as module
from service.delivery.worker import Worker
from service.store.presence import Claim
from service.store.watchers import HIDDEN
from service.telemetry import NOTICES_DROPPED, PRESENCE_UNTOLD, WATCHES_REFUSED
from tests.delivery.conftest import Start
from tests.delivery.rig import NEVER, Client, connect, ticks, total, troubled, until, until_stored

Told = list[tuple[str, str]]


def told(watcher: Client) -> Told:
    """(user, status) of each presence frame so far."""
    return [(frame["user"], frame["status"]) for frame in watcher.of("presence")]


async def watching(worker: Worker, *users: str, by: str = "alice") -> Client:
    """Somebody who has been told how these stand."""
    watcher = await connect(worker, by)
    worker.watching.watch(watcher.connection, users)
    await watcher.until(lambda: len(told(watcher)) == len(set(users)), "a word of each")
    return watcher


async def hears(watcher: Client, *words: tuple[str, str]) -> None:
    await watcher.until(lambda: len(told(watcher)) >= len(words), f"{words}")
    assert told(watcher) == list(words)


async def looked(worker: Worker, times: int = 3) -> None:
    """Lets the worker look at those that are watched so often."""
    looks = troubled(worker.watchers, "watch")
    await until(lambda: looks.landed >= times, "looks")


async def last_seen(worker: Worker, user: str) -> int | None:
    return (await worker.watchers.standings([user], "operator"))[0].last_seen


async def test_who_watches_is_told_of_each_at_once(worker: Worker) -> None:
    await connect(worker, "bob")
    watcher = await watching(worker, "bob", "carol")
    assert sorted(told(watcher)) == [("bob", "online"), ("carol", "offline")]
    seen = {frame["user"]: frame["last_seen"] for frame in watcher.of("presence")}
    assert seen == {"bob": await last_seen(worker, "bob"), "carol": None}


@pytest.mark.parametrize("elsewhere", (False, True), ids=("here", "elsewhere"))
async def test_coming_and_going_are_told_and_a_second_device_is_not(start: Start, elsewhere: bool) -> None:
    worker = await start(audit_interval=NEVER)
    other = await start(audit_interval=NEVER) if elsewhere else worker
    watcher = await watching(worker, "bob")
    phone = await connect(other, "bob", "phone")
    await hears(watcher, ("bob", "offline"), ("bob", "online"))
    laptop = await connect(worker, "bob", "laptop")
    phone.hang_up()
    await worker.releaser.drained()
    laptop.hang_up()
    await hears(watcher, ("bob", "offline"), ("bob", "online"), ("bob", "offline"))
    assert watcher.of("presence")[-1]["last_seen"] == await last_seen(worker, "bob")


async def test_who_is_back_at_once_was_never_gone(start: Start) -> None:
    worker = await start(presence_settle=NEVER)
    phone = await connect(worker, "bob")
    watcher = await watching(worker, "bob")
    phone.hang_up()
    await worker.releaser.drained()
    await looked(worker)
    await connect(worker, "bob")
    worker.watching._settled("bob")  # the time is over
    await looked(worker)
    assert told(watcher) == [("bob", "online")]


async def test_a_flapping_client_makes_few_words_and_the_last_is_right(start: Start) -> None:
    worker, other = await start(presence_settle=NEVER, audit_interval=NEVER), await start(audit_interval=NEVER)
    watcher = await watching(worker, "bob")
    phone = await connect(other, "bob")
    await hears(watcher, ("bob", "offline"), ("bob", "online"))
    for _ in range(50):
        phone.hang_up()
        await other.releaser.drained()
        phone = await connect(other, "bob")
    phone.hang_up()
    await other.releaser.drained()
    assert len(told(watcher)) == 2
    await until(lambda: worker.watching._users["bob"].timer, "a notice that waits for the rest to be over")
    worker.watching._settled("bob")
    await hears(watcher, ("bob", "offline"), ("bob", "online"), ("bob", "offline"))
    assert watcher.of("presence")[-1]["last_seen"] == await last_seen(worker, "bob")


async def test_of_one_user_there_is_one_word_in_that_time(start: Start) -> None:
    worker = await start(presence_settle=NEVER, audit_interval=NEVER)
    watcher = await watching(worker, "bob")
    await connect(worker, "bob")
    await hears(watcher, ("bob", "offline"), ("bob", "online"))
    bob = worker.watching._users["bob"]
    worker.watching.notice("bob", online=True)
    assert bob.timer is not None
    assert bob.timer.when() - asyncio.get_running_loop().time() > NEVER / 2


async def test_a_notice_that_is_lost_is_found_by_the_audit(start: Start) -> None:
    worker, other = await start(), await start(audit_interval=NEVER)
    watcher = await watching(worker, "bob")
    lost, dropped = troubled(other.streams, "announce"), total(NOTICES_DROPPED)
    lost.before = 1
    await connect(other, "bob")
    await hears(watcher, ("bob", "offline"), ("bob", "online"))
    assert (lost.failed, total(NOTICES_DROPPED) - dropped) == (1, 1)


async def test_a_user_of_a_dead_worker_goes_when_that_is_reaped(start: Start) -> None:
    worker = await start(audit_interval=NEVER)
    await worker.presence.enter("w-ghost")
    await worker.presence.claim(Claim("bob", "phone", "w-ghost", "s-1"))
    watcher = await watching(worker, "bob")
    await hears(watcher, ("bob", "online"), ("bob", "offline"))


async def test_a_worker_that_was_called_dead_watches_on_under_its_new_name(start: Start) -> None:
    worker, other = await start(audit_interval=NEVER), await start(audit_interval=NEVER)
    watcher = await watching(worker, "bob")
    await worker.take_identity()
    looks = troubled(worker.watchers, "watch")
    await until(lambda: looks.landed, "the rows under the new name")
    await connect(other, "bob")
    await hears(watcher, ("bob", "offline"), ("bob", "online"))


async def test_what_is_asked_while_the_store_is_away_is_told_when_it_is_back(worker: Worker) -> None:
    away = troubled(worker.watchers, "watch")
    away.before = 3
    watcher = await watching(worker, "bob")
    assert away.failed == 3
    assert told(watcher) == [("bob", "offline")]


async def test_one_who_cannot_be_read_keeps_nothing_from_others_and_is_told_once_it_can(
    worker: Worker, store: Any
) -> None:
    await store.set(worker.keys.devices("ghost"), "x")
    watcher = await connect(worker, "alice")
    worker.watching.watch(watcher.connection, ["ghost"])
    await until(lambda: worker.watching._users["ghost"].backoff, "a look in vain")
    worker.watching.watch(watcher.connection, ["bob"])
    await hears(watcher, ("bob", "offline"))
    await connect(worker, "bob")
    await hears(watcher, ("bob", "offline"), ("bob", "online"))
    await store.delete(worker.keys.devices("ghost"))
    await hears(watcher, ("bob", "offline"), ("bob", "online"), ("ghost", "offline"))
    assert worker.watching._users["ghost"].backoff is None


async def test_blocks_that_cannot_be_read_hide_that_user_from_all_and_nobody_else(worker: Worker, store: Any) -> None:
    await connect(worker, "ghost")
    await worker.blocks.block("ghost", "mallory")
    await store.delete(worker.keys.blocks("ghost"))
    await store.set(worker.keys.blocks("ghost"), "x")
    fool = await connect(worker, "mallory")
    worker.watching.watch(fool.connection, ["ghost", "bob"])
    await hears(fool, ("bob", "offline"))
    await until(lambda: worker.watching._users["ghost"].backoff, "a look in vain")
    assert told(fool) == [("bob", "offline")]


async def test_the_audit_goes_on_behind_a_slice_of_which_nothing_is_known(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", 1)
    watcher = await watching(worker, "bob", "carol")
    for method in ("watch", "glance"):
        real = getattr(worker.watchers, method)

        async def called(*args: Any, real: Any = real) -> Any:
            if any(arg == ["bob"] for arg in args):
                raise Unavailable("as the test wants it")
            return await real(*args)

        monkeypatch.setattr(worker.watchers, method, called)
    worker.presence.changed = lambda *_: None  # every notice is lost
    await connect(worker, "carol")
    await watcher.until(lambda: ("carol", "online") in told(watcher), "what the audit finds")


async def test_who_begins_to_watch_while_blocks_are_asked_for_sees_no_more_than_they_may(worker: Worker) -> None:
    await connect(worker, "bob")
    await worker.blocks.block("bob", "mallory")
    friend, fool = await connect(worker, "alice"), await connect(worker, "mallory")
    asked = troubled(worker.blocks, "between")
    asked.gate.clear()
    worker.watching.watch(friend.connection, ["bob"])
    await until(lambda: asked.calls, "the question")
    worker.watching.watch(fool.connection, ["bob"])
    asked.gate.set()
    await hears(friend, ("bob", "online"))
    await hears(fool, ("bob", "offline"))


async def test_nobody_is_told_of_a_user_who_has_blocked_them(worker: Worker) -> None:
    await connect(worker, "bob")
    await worker.blocks.block("bob", "mallory")
    fool = await watching(worker, "bob", by="mallory")
    friend = await watching(worker, "bob")
    assert [(frame["status"], frame["last_seen"]) for frame in fool.of("presence")] == [("offline", None)]
    assert told(friend) == [("bob", "online")]
    await worker.blocks.unblock("bob", "mallory")
    await hears(fool, ("bob", "offline"), ("bob", "online"))
    await worker.blocks.block("bob", "mallory")
    await hears(fool, ("bob", "offline"), ("bob", "online"), ("bob", "offline"))
    assert fool.of("presence")[-1]["last_seen"] is None
    assert told(friend) == [("bob", "online")]


async def test_who_is_unblocked_sees_when_somebody_who_is_gone_was_there_last(worker: Worker) -> None:
    (await connect(worker, "bob")).hang_up()
    await worker.releaser.drained()
    await worker.blocks.block("bob", "mallory")
    fool = await watching(worker, "bob", by="mallory")
    await worker.blocks.unblock("bob", "mallory")
    await hears(fool, ("bob", "offline"), ("bob", "offline"))
    seen = await last_seen(worker, "bob")
    assert [frame["last_seen"] for frame in fool.of("presence")] == [None, seen]
    assert seen is not None
    await worker.blocks.block("bob", "mallory")
    await hears(fool, *[("bob", "offline")] * 3)
    assert fool.of("presence")[-1]["last_seen"] is None


async def test_of_whom_nobody_ever_saw_a_block_says_nothing(worker: Worker) -> None:
    fool = await watching(worker, "bob", by="mallory")
    await worker.blocks.block("bob", "mallory")
    await until(lambda: worker.watching._users["bob"].told[fool.connection] == HIDDEN, "a look")
    assert told(fool) == [("bob", "offline")]


async def test_a_peer_that_does_not_read_is_told_once_it_does(worker: Worker) -> None:
    watcher, before = await watching(worker, "bob"), total(PRESENCE_UNTOLD)
    watcher.flooded = True
    await connect(worker, "bob")
    await until(lambda: total(PRESENCE_UNTOLD) > before, "a word that was put off")
    watcher.flooded = False
    await hears(watcher, ("bob", "offline"), ("bob", "online"))


async def test_of_whom_it_watches_no_more_it_hears_nothing_and_others_do(start: Start) -> None:
    worker = await start(audit_interval=NEVER)
    fickle, steady = await watching(worker, "bob", by="alice"), await watching(worker, "bob", by="carol")
    worker.watching.unwatch(fickle.connection, ["bob", "dave"])
    await connect(worker, "bob")
    await hears(steady, ("bob", "offline"), ("bob", "online"))
    assert told(fickle) == [("bob", "offline")]


async def test_who_leaves_leaves_nothing_behind(start: Start, store: Any) -> None:
    worker = await start(presence_settle=NEVER)
    watcher = await watching(worker, "bob", "carol")
    worker.watching.notice("bob", online=False)
    worker.watching.watch(watcher.connection, ["dave"])
    worker.watching.leave(watcher.connection)
    worker.watching.leave(watcher.connection)
    left = worker.watching
    assert (left._users, left._of, left._count) == ({}, {}, 0)
    worker.watching.notice("bob", online=True)
    await ticks()
    assert 0 < await store.ttl(worker.keys.watchers("bob")) < NEVER


async def test_watching_again_is_told_again(worker: Worker) -> None:
    watcher = await watching(worker, "bob")
    worker.watching.watch(watcher.connection, ["bob"])
    await hears(watcher, ("bob", "offline"), ("bob", "offline"))


async def test_one_connection_watches_so_many_and_one_too_many_changes_nothing(worker: Worker) -> None:
    watcher = await connect(worker, "alice")
    names = [f"u{number}" for number in range(200)]
    worker.watching.watch(watcher.connection, names)
    with pytest.raises(ClientError, match="invalid_field"):
        worker.watching.watch(watcher.connection, ["u0", "one more"])
    worker.watching.unwatch(watcher.connection, ["u0"])
    worker.watching.watch(watcher.connection, ["bob"])
    await watcher.until(lambda: {user for user, _ in told(watcher)} >= {*names[1:], "bob"}, "a word of each")
    assert "one more" not in {user for user, _ in told(watcher)}


async def test_one_worker_watches_so_many(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WATCHED", 2)
    watcher, before = await watching(worker, "bob", "carol"), total(WATCHES_REFUSED)
    other = await connect(worker, "dave")
    with pytest.raises(ClientError, match="overloaded"):
        worker.watching.watch(other.connection, ["bob"])
    assert total(WATCHES_REFUSED) == before + 1
    worker.watching.leave(watcher.connection)
    worker.watching.watch(other.connection, ["bob"])
    await hears(other, ("bob", "offline"))


async def test_many_are_looked_at_in_slices(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE", 10)
    sizes: list[int] = []
    watch = worker.watchers.watch

    async def noted(name: str, users: Any, life: float) -> Any:
        sizes.append(len(users))
        return await watch(name, users, life)

    monkeypatch.setattr(worker.watchers, "watch", noted)
    await watching(worker, *(f"u{number}" for number in range(35)))
    sizes.clear()
    await until(lambda: sum(sizes) >= 35, "an audit of all of them")
    assert max(sizes) == 10


async def test_a_row_that_was_lost_is_written_again(worker: Worker, store: Any) -> None:
    await watching(worker, "bob")
    await store.delete(worker.keys.watchers("bob"))

    async def there() -> bool:
        return bool(await store.hexists(worker.keys.watchers("bob"), worker.id))

    await until_stored(there, "the row")

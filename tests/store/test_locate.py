"""Where a message lies in an inbox: found by the dedupe hashes, by looking through the stream, or not at all."""

from collections.abc import Callable
from typing import Any

import pytest

from service.core.aiming import Sight
from service.store import locate as module
from service.store import scripts
from service.store.locate import Locator
from tests.store.conftest import Store, accepted, deletion, message

WINDOW_MS = 60_000


@pytest.fixture
def locator(store: Store) -> Locator:
    return Locator(store.clients, store.keys)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The pieces of streams that were looked through."""
    seen: list[Any] = []
    call = scripts.call

    async def spied(link: Any, script: scripts.Script, keys: Any, args: Any) -> Any:
        if script is scripts.LOCATE:
            seen.append(args)
        return await call(link, script, keys, args)

    monkeypatch.setattr(scripts, "call", spied)
    return seen


async def find(locator: Locator, id: str, user: str = "bob", sender: str = "alice") -> Sight | None:
    sights, _ = await locator.find([user], sender, id)
    return sights.get(user)


async def forget(store: Store, user: str = "bob") -> None:
    """The dedupe hashes of this inbox have turned twice since."""
    await store.do("DEL", store.keys.seen(user, "a"), store.keys.seen(user, "b"))


async def test_a_message_is_found_by_its_sender_and_id(store: Store, locator: Locator) -> None:
    cursor = accepted(await store.send("m1"))
    assert await find(locator, "m1") == Sight(("bob",), f"{cursor} m1 alice to bob")
    assert await find(locator, "m1", sender="carol") is None
    assert await find(locator, "m2") is None
    assert await find(locator, "m1", user="nobody") is None


async def test_the_own_copy_says_who_got_it(store: Store, locator: Locator) -> None:
    await store.presence.register("alice", "phone")
    [[_, _, own]] = await store.append([message("m1", "bob", "carol")], own_copy=True)
    sights, _ = await locator.find(["alice", "bob", "carol", "dave"], "alice", "m1")
    assert {user: sight.to for user, sight in sights.items()} == {
        "alice": ("bob", "carol"),
        "bob": ("bob",),
        "carol": ("carol",),
    }
    assert sights["alice"].row == f"{accepted(own)} m1 alice to bob,carol"


async def test_when_it_expires_is_told(store: Store, locator: Locator) -> None:
    cursor = accepted(await store.send("m1", expires_in=30))
    sight = await find(locator, "m1")
    assert sight is not None
    assert sight.expires == cursor.ms + 30_000


async def test_a_deleted_message_is_known_as_that(store: Store, locator: Locator) -> None:
    cursor = accepted(await store.send("m1"))
    await store.append([deletion(cursor, "m1")], own_copy=False)
    sight = await find(locator, "m1")
    assert sight == Sight(("bob",))
    assert sight.deleted


async def test_a_message_that_was_trimmed_is_not_known(store: Store, locator: Locator) -> None:
    await store.fill(3)
    await store.do("XTRIM", store.keys.inbox("bob"), "MAXLEN", 2)
    assert await find(locator, "f0") is None
    assert await find(locator, "f1") is not None


@pytest.mark.parametrize("count", (1, 2, 3, 4, 7))
async def test_a_message_older_than_the_hashes_is_looked_for_in_the_stream(
    store: Store, locator: Locator, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(module, "CHUNK", count)
    cursors = await store.fill(7)
    await forget(store)
    for n, cursor in enumerate(cursors):
        assert await find(locator, f"f{n}") == Sight(("bob",), f"{cursor} f{n} alice to bob")
    assert await find(locator, "f7") is None
    assert await find(locator, "f1", sender="carol") is None


async def test_only_what_is_older_than_the_hashes_is_looked_through(
    store: Store, locator: Locator, searches: list[Any], aged: Callable[..., Any]
) -> None:
    """An unknown target is no way to have the server read whole inboxes."""
    await store.fill(3)
    assert await find(locator, "nothing") is None
    [args] = searches
    state = await store.state()
    assert args[0] == str(int(state["turned"]) - 1)
    await aged(WINDOW_MS)  # the next append turns the hashes
    await store.send("m1")
    await store.do("DEL", store.keys.seen("bob", "a"))
    assert await find(locator, "f1") is not None


async def test_a_message_of_a_group_is_not_one_to_users(store: Store, locator: Locator) -> None:
    fields = ("kind", "message", "id", "m1", "from", "alice", "group", "team", "seq", "1", "body", "1")
    await store.do("XADD", store.keys.inbox("bob"), "5-1", *fields)
    assert await find(locator, "m1") is None


async def test_a_change_that_is_there_already_is_told(store: Store, locator: Locator) -> None:
    cursor = accepted(await store.send("m1"))
    change = deletion(cursor, "m1", "d1")
    assert await locator.find(["bob", "carol"], "alice", "m1", change.identity) == (
        {"bob": Sight(("bob",), f"{cursor} m1 alice to bob")},
        set(),
    )
    await store.append([change], own_copy=False)
    sights, repeated = await locator.find(["bob", "carol"], "alice", "m1", change.identity)
    assert (set(sights), repeated) == ({"bob"}, {"bob"})


async def test_what_somebody_wrote_by_hand_is_no_message(store: Store, locator: Locator) -> None:
    await store.do("XADD", store.keys.inbox("bob"), "5-1", "kind", "message", "id", "m1", "from", "alice")
    await store.do("XADD", store.keys.inbox("bob"), "5-2", "note", "hello")
    assert await find(locator, "m1") is None

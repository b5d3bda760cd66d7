"""The catalogue of keys: slots, and walls between users."""

import binascii
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.cursor import Cursor
from service.store import scripts
from service.store.appends import Numbered
from service.store.blocks import Blocks
from service.store.keys import CATALOGUE, Keys
from service.store.locate import Locator
from service.store.marks import was_read
from service.store.presence import Claim
from service.store.scripts import ACK, APPEND, BEAT, CLAIM, ENLIST, PULSE, REAP, RELEASE, Script
from service.store.watchers import Watchers
from service.store.worker_stream import KICK
from tests.store.conftest import Store, accepted, deletion, group_fields, message
from tests.store.group_rig import everything as everything_of_groups
from tests.store.push_rig import PushStore

NAMES = st.text("abAB01._-@:+", min_size=1, max_size=12)


def slot(key: str | bytes) -> int:
    """As a Cluster computes it: CRC16 of what stands between the first braces, else of the whole key."""
    raw = key.encode() if isinstance(key, str) else key
    tag = re.search(rb"\{([^}]+)\}", raw)
    return binascii.crc_hqx(tag[1] if tag else raw, 0) % 16384


def of_user(keys: Keys, user: str) -> set[str]:
    named = (
        keys.inbox, keys.state, keys.cursors, keys.devices, keys.presence, keys.blocks, keys.erased, keys.groups,
        keys.watchers, keys.marks,
    )  # fmt: skip
    return {build(user) for build in named} | {keys.seen(user, turn) for turn in "ab"}


def test_the_slot_is_computed_as_a_cluster_does() -> None:
    assert slot("123456789") == 0x31C3
    assert slot("{user1000}.following") == slot("{user1000}.followers")


@given(NAMES)
def test_all_keys_of_a_user_lie_in_the_slot_of_its_name(user: str) -> None:
    keys = Keys()
    assert {slot(key) for key in of_user(keys, user)} == {slot(user)}
    assert {slot(key) for key in keys.of(user)} == {slot(user)}


@given(NAMES)
def test_all_keys_of_a_worker_lie_in_one_slot(worker: str) -> None:
    keys = Keys()
    assert len({slot(key) for key in (keys.worker(worker), keys.claims(worker), keys.about(worker))}) == 1


@given(NAMES, NAMES)
def test_no_user_can_reach_another_users_keys(one: str, other: str) -> None:
    keys = Keys()
    if one != other:
        assert not of_user(keys, one) & of_user(keys, other)


@given(NAMES, NAMES)
def test_no_user_can_reach_a_workers_keys(user: str, worker: str) -> None:
    keys = Keys()
    of_worker = {keys.worker(worker), keys.claims(worker), keys.about(worker), keys.workers()}
    assert not of_user(keys, user) & of_worker


@given(NAMES, NAMES)
def test_services_with_other_prefixes_share_no_keys(one: str, other: str) -> None:
    assert not of_user(Keys("a:"), one) & of_user(Keys("b:"), other)


def test_the_encoded_keys_are_those_of_the_catalogue() -> None:
    keys = Keys("x:")
    of = keys.of("bob")
    assert {key.decode() for key in of} == of_user(keys, "bob")
    assert of.state == keys.state("bob").encode()
    assert of.inbox == keys.inbox("bob").encode()
    assert (of.seen_a, of.seen_b) == (keys.seen("bob", "a").encode(), keys.seen("bob", "b").encode())
    assert of.presence == keys.presence("bob").encode()
    assert of.cursors == keys.cursors("bob").encode()
    assert of.devices == keys.devices("bob").encode()
    assert of.blocks == keys.blocks("bob").encode()
    assert of.erased == keys.erased("bob").encode()
    assert of.groups == keys.groups("bob").encode()
    assert of.marks == keys.marks("bob").encode()
    assert of.watchers == keys.watchers("bob").encode()


@pytest.mark.parametrize("prefix", ("{chat}:", "chat:{", "a}b"))
def test_a_prefix_with_a_brace_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="Cluster slot"):
        Keys(prefix)


def test_the_catalogue_names_every_key_that_can_be_built() -> None:
    keys, worker = Keys(), "w-7f3a91c2"
    built = of_user(keys, "bob") | {keys.worker(worker), keys.claims(worker), keys.about(worker), keys.workers()}
    built.add(keys.ended("bob", "phone", "tab-1"))
    built |= {keys.push(1), keys.push_tries(1), keys.push_sweeper(), keys.pushers("bob")}
    built |= {key.decode() for key in keys.group("team")} | {keys.fanout(0)}
    assert {row.pattern for row in CATALOGUE} == built


# What the scripts are given.


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Script, list[Any]]]:
    """Every script call of the test, with its keys."""
    seen: list[tuple[Script, list[Any]]] = []
    run = scripts.call_all

    async def call_all(link: Any, made: Any, wait: Any = None, **how: Any) -> list[Any]:
        seen.extend((script, list(keys)) for script, keys, _ in made)
        return await run(link, made, wait, **how)

    monkeypatch.setattr(scripts, "call_all", call_all)
    return seen


KEYS_PER_OP = {APPEND: 6, ACK: 4, ENLIST: 1, CLAIM: 7, RELEASE: 4, BEAT: 1, PULSE: 2, REAP: 1, scripts.HINT: 1}
KEYS_PER_OP |= {scripts.OWED: 3, scripts.READ: 2, scripts.SKIM: 1, scripts.LOCATE: 1}
KEYS_PER_OP |= {scripts.BLOCK: 2, scripts.WATCH: 4}
KEYS_PER_OP |= dict.fromkeys(scripts.PUSH, 1) | {scripts.PUSH_DONE: 2, scripts.PUSH_REMIND: 2}
KEYS_PER_OP |= {scripts.GROUP_COMMIT: 6, scripts.GROUP_CHANGE: 4, scripts.GROUP_DONE: 4}
KEYS_PER_OP |= {scripts.GROUP_ERASE: 4, scripts.GROUP_FORGET: 1, scripts.GROUP_RENUMBER: 6}


async def test_the_keys_of_every_op_of_every_script_lie_in_one_slot(
    store: Store, calls: list[tuple[Script, list[Any]]]
) -> None:
    claim = Claim("bob", "phone", "w-1", "s-1")
    await store.presence.claim(claim)
    await store.presence.register("alice", "laptop")
    await store.append([message("m1", "bob", "carol"), message("m2", "dave")], own_copy=True)
    await store.inboxes.ack([("bob", "phone", Cursor(1, 1)), ("carol", "phone", Cursor(1, 1))])
    await store.marks.owed([("bob", None), ("carol", None)])
    await store.marks.skim("bob")
    await store.marks.move("bob", was_read("alice"), "m1", Cursor(1, 1))
    await Locator(store.clients, store.keys).find(["bob", "carol"], "alice", "unknown")
    await store.presence.release(claim)
    await store.presence.enter("w-1")
    await store.presence.beat("w-1")
    await store.presence.pulse("w-1", {}, 1)
    await store.streams.tell("w-1", KICK, "bob")
    await store.presence.reap("w-1", "1")
    await Blocks(store.clients.rest, store.keys).block("bob", "mallory")
    await Watchers(store.clients.rest, store.keys).watch("w-1", ["bob", "carol"], 60)
    await PushStore(store).everything()
    await everything_of_groups(store)
    assert {script.name for script, _ in calls} == {script.name for script in scripts.ALL}
    for script, keys in calls:
        size = KEYS_PER_OP[script]
        assert len(keys) % size == 0
        for at in range(0, len(keys), size):
            assert len({slot(key) for key in keys[at : at + size]}) == 1, script.name


async def test_the_catalogue_says_what_is_really_there(store: Store) -> None:
    """Types, and no key that the table does not know."""
    await store.presence.claim(Claim("bob", "phone", "w-7f3a91c2", "s-1"))
    await store.presence.enter("w-7f3a91c2")
    await store.presence.pulse("w-7f3a91c2", {"host": "h"}, 1)
    await store.send("m1")
    state = await store.state()
    await store.do("HSET", store.keys.state("bob"), "turned", int(state["turned"]) - 61_000)
    await store.send("m2")
    await store.presence.end_stream(Claim("bob", "phone", "w-7f3a91c2", "e-1:tab-1"), "replaced")
    await Blocks(store.clients.rest, store.keys).block("bob", "mallory")
    await Watchers(store.clients.rest, store.keys).watch("w-7f3a91c2", ["bob"], 60)
    await store.marks.move("bob", was_read("alice"), "m1", Cursor(1, 1))
    gone = deletion(accepted(await store.send("m3")), "m3")
    await store.append([gone], own_copy=False)
    await store.appends.number([Numbered("bob", "team", 1, 1, group_fields(1))])
    await PushStore(store).everything()
    await everything_of_groups(store)
    types = {row.pattern: row.type for row in CATALOGUE}
    found = {key.decode(): (await store.do("TYPE", key)).decode() for key in await store.do("KEYS", "*")}
    assert found == types

"""A group in which everything has happened, for the tests of keys."""

from service.core.entries import Kind
from service.core.sending import Message
from service.store.groups import Change, Groups
from tests.store.conftest import Store

LATER = 2**50


async def everything(store: Store) -> None:
    """Every script of groups has run, and every key of a group, and one part of the index, is there."""
    groups = Groups(store.clients, store.keys, store.limits, 10)
    await groups.announce("gone", 1)
    for group in ("gone", "team"):
        await groups.forget(group, 1)
    await store.clients.rest.run("ZADD", store.keys.fanout(0), 1, "team")
    await groups.change(Change("team", "alice", "put", ("bob",)), LATER)
    said = Message("m1", "alice", (), b'"hi"', "p1")
    (sent,) = (await groups.commit("team", [said], "", LATER)).results
    await store.do("HSET", store.keys.group("team").group, "turned", sent.ts - 61_000)
    gone = Message("d1", "alice", (), b"", "p1", kind=Kind.DELETE, target="m1", target_from="alice")
    (deleted,) = (await groups.commit("team", [gone], "", LATER)).results
    assert deleted.erases is not None
    await groups.erase("team", ["bob", "carol"], deleted.erases, "m1", "alice")
    await groups.renumber("team", await groups.log("team", 3, 3), 3)
    await groups.done("team", [1])

"""Groups over HTTP and WebSocket: who may do what, what every member gets, and what a sender is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from service.core.identity import Identity
from service.edge import groups as edge_groups
from service.edge.groups import GroupBody, _changes
from service.store.groups import Change, Changed, ChangeStatus, GroupView
from tests.support.api import Api, problem
from tests.support.device import Device
from tests.support.issuer import Issuer
from tests.support.legacy import LegacyClient
from tests.support.rules import Frame


@pytest.fixture
def team(named: Callable[[str], str]) -> str:
    return named("team")


@pytest.fixture
async def tokens(guarded: Service) -> AsyncIterator[Callable[..., Api]]:
    """Requests with a token of one's own."""
    async with AsyncExitStack() as stack:
        made: dict[str, Api] = {}
        for user in ("alice", "bob", "carol", "mallory"):
            made[user] = await stack.enter_async_context(Api(guarded.url, token=Issuer().token(user, "chat")))
        made["shop"] = await stack.enter_async_context(Api(guarded.url, token=Issuer().token("shop", "send:any")))
        yield made.__getitem__


async def put(api: Api, group: str, *members: str, status: int = 201, **more: Any) -> dict[str, Any]:
    response = await api.http.put(f"/v1/groups/{group}", json={"members": list(members), **more})
    assert response.status_code == status, response.text
    return dict(response.json())


async def entries(service: Service, user: str) -> list[Frame]:
    async with Api(service.url, user) as api:
        return list((await api.get("/v1/inbox", device="reader", limit=1000))["entries"])


def brief(frames: list[Frame]) -> list[str]:
    return [f"{frame['seq']} {frame.get('event') or frame['id']}" for frame in frames]


# Making, changing, leaving.


async def test_who_makes_a_group_owns_it_and_every_member_gets_one_entry(
    service: Service, api: Api, alice: str, bob: str, team: str
) -> None:
    made = await put(api, team, bob, name="The tëam")
    assert made == {
        "group": team, "name": "The tëam", "owner": alice, "members": [alice, bob], "created_at": made["created_at"],
    }  # fmt: skip
    assert await api.get(f"/v1/groups/{team}") == made
    for user in (alice, bob):
        (entry,) = await entries(service, user)
        cursor, ts = entry.pop("cursor"), entry.pop("ts")
        assert (cursor.partition("-")[2], type(ts)) == ("1", int)
        assert entry == {
            "type": "group", "id": f"{team}:1", "group": team, "seq": 1, "event": "created", "user": alice,
            "by": alice, "name": "The tëam", "replay": True,
        }  # fmt: skip
        async with Api(service.url, user) as own:
            row = {"group": team, "name": "The tëam", "owner": alice, "members": 2}
            assert await own.get("/v1/groups") == {"groups": [row]}


async def test_a_put_by_its_owner_replaces_members_and_name(
    service: Service, api: Api, alice: str, bob: str, carol: str, team: str
) -> None:
    await put(api, team, bob)
    changed = await put(api, team, carol, status=200, name="new")
    assert (changed["members"], changed["name"]) == ([alice, carol], "new")
    assert brief(await entries(service, alice)) == ["1 created", "2 renamed", "3 left", "4 joined"]
    assert brief(await entries(service, bob)) == ["1 created", "2 renamed", "3 left"]
    assert brief(await entries(service, carol)) == ["4 joined"]
    assert (await put(api, team, carol, status=200))["name"] == "new"
    assert len(await entries(service, alice)) == 4


async def test_members_come_and_go(service: Service, api: Api, bobs: Api, alice: str, bob: str, team: str) -> None:
    await put(api, team)
    for _ in range(2):
        assert (await api.http.put(f"/v1/groups/{team}/members/{bob}")).status_code == 204
    assert (await bobs.http.delete(f"/v1/groups/{team}/members/{bob}")).status_code == 204
    joined, left = await entries(service, bob)
    assert (joined["event"], joined["user"], joined["by"]) == ("joined", bob, alice)
    assert (left["event"], left["user"], left["by"]) == ("left", bob, bob)
    assert await bobs.get("/v1/groups") == {"groups": []}


async def test_when_the_owner_leaves_the_next_one_owns_it_and_the_last_one_deletes_it(
    api: Api, bobs: Api, alice: str, bob: str, team: str
) -> None:
    await put(api, team, bob)
    assert (await api.http.delete(f"/v1/groups/{team}/members/{alice}")).status_code == 204
    assert (await bobs.get(f"/v1/groups/{team}"))["owner"] == bob
    assert (await bobs.http.delete(f"/v1/groups/{team}/members/{bob}")).status_code == 204
    problem(await bobs.http.get(f"/v1/groups/{team}"), 404, "no_such_group")
    assert (await put(api, team, bob))["members"] == [alice, bob]


async def test_a_deleted_group_tells_its_members_and_takes_nothing_more(
    service: Service, api: Api, bob: str, team: str
) -> None:
    await put(api, team, bob)
    assert (await api.http.delete(f"/v1/groups/{team}")).status_code == 204
    assert brief(await entries(service, bob)) == ["1 created", "2 deleted"]
    problem(await api.http.delete(f"/v1/groups/{team}"), 404, "no_such_group")
    problem(await api.post({"group": team, "body": 1}), 404, "no_such_group", "group")
    await put(api, team, bob)
    assert brief(await entries(service, bob)) == ["1 created", "2 deleted", "3 created"]


# Who may.


@pytest.mark.parametrize(("who", "status", "code"), (("bob", 403, "forbidden"), ("mallory", 404, "no_such_group")))
async def test_only_the_owner_changes_a_group(
    tokens: Callable[..., Api], team: str, who: str, status: int, code: str
) -> None:
    await put(tokens("alice"), team, "bob", "carol")
    http, base = tokens(who).http, f"/v1/groups/{team}"
    problem(await http.put(base, json={"members": []}), status, code)
    problem(await http.delete(base), status, code)
    problem(await http.put(f"{base}/members/mallory"), status, code)
    problem(await http.delete(f"{base}/members/carol"), status, code)
    assert (await tokens("alice").get(base))["members"] == ["alice", "bob", "carol"]


async def test_others_groups_look_like_none(tokens: Callable[..., Api], team: str) -> None:
    await put(tokens("alice"), team, "bob")
    for path in (f"/v1/groups/{team}", f"/v1/groups/{team}/marks"):
        problem(await tokens("mallory").http.get(path), 404, "no_such_group")
    problem(await tokens("mallory").post({"group": team, "body": 1}), 404, "no_such_group")


async def test_a_backend_may_change_any_group_and_send_for_its_members(tokens: Callable[..., Api], team: str) -> None:
    await put(tokens("alice"), team, "bob")
    shop = tokens("shop")
    assert (await put(shop, team, "carol", status=200))["members"] == ["alice", "carol"]
    assert (await shop.http.put(f"/v1/groups/{team}/members/bob")).status_code == 204
    assert (await shop.post({"group": team, "from": "bob", "body": 1})).status_code == 202
    problem(await shop.post({"group": team, "body": 1}), 404, "no_such_group")
    assert (await shop.get(f"/v1/groups/{team}"))["owner"] == "alice"


async def test_nobody_is_put_into_a_group_by_whom_they_block(tokens: Callable[..., Api], team: str) -> None:
    alice, bob = tokens("alice"), tokens("bob")
    assert (await bob.http.put("/v1/blocks/alice")).status_code == 204
    try:
        problem(await alice.http.put(f"/v1/groups/{team}", json={"members": ["carol", "bob"]}), 403, "refused")
        await put(alice, team, "carol")
        problem(await alice.http.put(f"/v1/groups/{team}/members/bob"), 403, "refused")
    finally:
        await bob.http.delete("/v1/blocks/alice")
    assert (await alice.http.put(f"/v1/groups/{team}/members/bob")).status_code == 204
    await bob.http.put("/v1/blocks/alice")
    try:
        await put(alice, team, "carol", "bob", status=200)  # who is in it already stays
        assert (await alice.post({"group": team, "body": 1})).json()["members"] == 3
    finally:
        await bob.http.delete("/v1/blocks/alice")


@pytest.mark.parametrize("name", ("", "x" * 257, "a b", "ä", "{x}", "a/b"))
async def test_a_hostile_name_of_a_group_is_refused(api: Api, name: str) -> None:
    response = await api.post({"group": name, "body": 1})
    assert response.status_code == 422
    assert (await api.http.put(f"/v1/groups/{name}", json={"members": []})).status_code in {404, 405, 422}


@pytest.mark.parametrize(
    "body",
    (
        {"members": "bob"}, {"members": ["a b"]}, {"members": [1]}, {"members": [], "name": ""}, {"name": 1},
        {"members": [], "name": "x" * 257}, {"members": [], "owner": "bob"}, [], {"members": [None]},
    ),
)  # fmt: skip
async def test_a_hostile_group_is_refused(api: Api, team: str, body: Any) -> None:
    problem(await api.http.put(f"/v1/groups/{team}", json=body), 422, "invalid_field")
    problem(await api.http.get(f"/v1/groups/{team}"), 404, "no_such_group")


async def test_more_members_than_may_be_are_refused(api: Api, team: str) -> None:
    members = [f"u{n}" for n in range(1001)]
    problem(await api.http.put(f"/v1/groups/{team}", json={"members": members}), 409, "group_full")
    problem(await api.http.put(f"/v1/groups/{team}", json={"members": members[:1000]}), 409, "group_full")


# Sending.


async def test_an_acceptance_names_the_group_its_number_and_how_many_members(
    service: Service, api: Api, alice: str, bob: str, carol: str, team: str
) -> None:
    await put(api, team, bob, carol)
    response = await api.post({"id": "m-1", "group": team, "body": {"text": "hi"}})
    assert response.status_code == 202
    told = response.json()
    assert told == {
        "id": "m-1", "from": alice, "ts": told["ts"], "duplicate": False, "durability": "fsynced", "group": team,
        "seq": 2, "members": 3,
    }  # fmt: skip
    for user in (alice, bob, carol):
        message = (await entries(service, user))[-1]
        assert message == {
            "type": "message", "id": "m-1", "from": alice, "group": team, "seq": 2, "body": {"text": "hi"},
            "cursor": message["cursor"], "ts": message["ts"], "replay": True,
        }  # fmt: skip
    again = await api.post({"id": "m-1", "group": team, "body": {"text": "hi"}})
    assert (again.status_code, again.json()) == (200, told | {"duplicate": True})
    problem(await api.post({"id": "m-1", "group": team, "body": "other"}), 422, "id_reused")


async def test_a_repeat_is_answered_to_who_has_left_since(api: Api, bobs: Api, bob: str, team: str) -> None:
    await put(api, team, bob)
    first = (await bobs.post({"id": "m-1", "group": team, "body": 1})).json()
    await bobs.http.delete(f"/v1/groups/{team}/members/{bob}")
    again = await bobs.post({"id": "m-1", "group": team, "body": 1})
    assert (again.status_code, again.json()) == (200, first | {"duplicate": True})
    problem(await bobs.post({"id": "m-2", "group": team, "body": 1}), 404, "no_such_group")


async def test_a_batch_goes_to_users_and_groups_in_its_order(
    service: Service, api: Api, bob: str, carol: str, team: str
) -> None:
    await put(api, team, bob)
    where = [{"to": bob}, {"group": team}, {"group": team}, {"to": bob}, {"group": "none"}, {"to": carol}]
    messages = [{"id": f"m-{n}", "body": n, **place} for n, place in enumerate(where)]
    response = await api.http.post("/v1/messages/batch", json={"messages": messages})
    assert [result["status"] for result in response.json()["results"]] == [202, 202, 202, 202, 404, 202]
    received = [entry for entry in await entries(service, bob) if entry["type"] == "message"]
    assert [entry["body"] for entry in received] == [0, 1, 2, 3]
    assert [entry.get("seq") for entry in received] == [None, 2, 3, None]


async def test_what_expires_does_so_for_every_member(service: Service, api: Api, bob: str, team: str) -> None:
    await put(api, team, bob)
    await api.post({"id": "m-1", "group": team, "body": 1, "expires_in": 1})
    await asyncio.sleep(1.1)
    assert [entry["type"] for entry in await entries(service, bob)] == ["group", "gap"]


async def test_over_a_socket_it_is_the_same(service: Service, api: Api, alice: str, bob: str, team: str) -> None:
    await put(api, team, bob)
    async with Device(service.url, alice) as laptop, Device(service.url, bob) as phone:
        await phone.go_live()
        await laptop.go_live()
        await laptop.say({"type": "send", "id": "m-1", "group": team, "body": "hi"})
        told = await laptop.answer("m-1")
        assert (told["group"], told["seq"], told["members"], told["duplicate"]) == (team, 2, 2, False)
        assert "from" not in told
        for device in (laptop, phone):
            (message,) = await device.receive(1)
            assert (message["id"], message["seq"], "replay" in message) == ("m-1", 2, False)
        await phone.say({"type": "send", "id": "m-1", "group": "none", "body": "hi"})
        refused = await phone.answer("m-1")
        assert (refused["type"], refused["code"], refused["retryable"]) == ("error", "no_such_group", False)


async def test_what_one_connection_sends_is_accepted_in_order_wherever_it_goes(
    service: Service, api: Api, alice: str, bob: str, team: str
) -> None:
    await put(api, team, bob)
    frames: list[Frame] = [
        {"type": "send", "id": f"m-{n}", "body": n, **({"group": team} if n % 3 else {"to": bob})} for n in range(60)
    ]
    async with Device(service.url, bob) as phone, Device(service.url, alice) as laptop:
        phone.acking = True
        await laptop.say(*frames)
        received = await phone.receive(60)
        assert [message["body"] for message in received] == list(range(60))
        for n in range(60):
            assert (await laptop.answer(f"m-{n}"))["type"] == "accepted"


async def test_members_on_two_workers_get_it_at_once_and_in_the_same_order(
    service: Service, api: Api, bob: str, carol: str, team: str
) -> None:
    await put(api, team, bob, carol)
    first, second = service.workers()
    devices = [Device(service.url, bob), Device(service.url, carol)]
    for worker, device in zip((first, second), devices, strict=True):
        with service.only(worker.name):
            await device.connect()
    for device in devices:
        await device.go_live()

    async def talk(device: Device, who: str) -> None:
        for n in range(20):
            await device.say({"type": "send", "id": f"{who}-{n}", "group": team, "body": n})

    await asyncio.gather(*(talk(device, who) for device, who in zip(devices, "bc", strict=True)))
    seen = [[(m["seq"], m["id"]) for m in await device.receive(40)] for device in devices]
    assert seen[0] == seen[1]
    assert [seq for seq, _ in seen[0]] == list(range(2, 42))
    for who in "bc":
        assert [id for _, id in seen[0] if id.startswith(who)] == [f"{who}-{n}" for n in range(20)]
    for device in devices:
        await device.close()


async def test_sending_to_a_group_costs_its_sender_one_message_of_the_rate(guarded: Service, team: str) -> None:
    async with Api(guarded.url, token=Issuer().token("alice", "chat")) as api:
        await put(api, team, "bob", "carol")
        before = await api.post({"group": team, "body": 1})
        after = await api.post({"group": team, "body": 1})
    left = [int(r.headers["ratelimit"].partition("r=")[2].partition(";")[0]) for r in (before, after)]
    assert left[0] - left[1] <= 1


async def test_changes_are_paid_for_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = GroupView("team", "one", "alice", 1, 1, ("alice", "bob", "carol"))
    assert _changes(None, ("bob", "carol"), "one") == 1
    assert _changes(view, ("bob", "dave"), "one") == 2
    assert _changes(view, ("bob", "carol", "alice"), None) == 0
    assert _changes(view, (), "two") == 3
    order: list[str] = []

    class Rates:
        def admit(self, *_: Any) -> None: ...

        def charge(self, _request: Any, _asking: Any, more: int) -> None:
            order.append(f"charge {more}")

    class Fanout:
        async def change(self, change: Change) -> Changed:
            order.append(change.what)
            return Changed(ChangeStatus.DONE)

    class Stored:
        async def view(self, _group: str) -> GroupView:
            return view

        async def blocked(self, *_: Any) -> list[str]:
            return []

    async def body(*_: Any) -> GroupBody:
        return GroupBody(members=["dave", "erin"])

    worker = SimpleNamespace(groups=Stored(), fanout=Fanout(), settings=SimpleNamespace(max_frame=1, max_group=9))
    monkeypatch.setattr(edge_groups, "rates_of", lambda _: Rates())
    monkeypatch.setattr(edge_groups, "worker_of", lambda _: worker)
    monkeypatch.setattr(edge_groups, "read_model", body)
    await edge_groups.put_group(None, Identity("alice", frozenset(("chat",))), "team")  # type: ignore[arg-type]
    assert order == ["charge 3", "put"]


async def test_clients_of_the_older_protocol_pass_groups_over(service: Service, api: Api, bob: str, team: str) -> None:
    await put(api, team, bob)
    await api.post({"group": team, "body": {"text": "to all"}})
    await api.send(bob, {"text": "to bob"})
    async with LegacyClient(service.url, bob) as client:
        frame = await client.wire.next("private_message")
        assert frame["msg"] == "to bob"


# How far they have got.


async def test_marks_say_how_far_each_member_has_got(
    service: Service, api: Api, alice: str, bob: str, team: str
) -> None:
    await put(api, team, bob)
    await api.post({"group": team, "body": 1})
    nothing = {"user": alice, "delivered": None, "read": None}
    assert (await api.get(f"/v1/groups/{team}/marks"))["marks"][0] == nothing
    async with Device(service.url, bob) as phone:
        await phone.receive(1)
        await phone.ack()
        await phone.say({"type": "read", "group": team, "upto": 2})
        await phone.read_upto(2)

    async def marked() -> dict[str, Any] | None:
        row = (await api.get(f"/v1/groups/{team}/marks"))["marks"][1]
        return dict(row) if row["delivered"] and row["read"] else None

    row = await eventually_async(marked, "both marks")
    assert (row["user"], row["delivered"]["seq"], row["read"]["seq"]) == (bob, 2, 2)
    assert type(row["read"]["at"]) is int

"""Edits, deletions and reactions: over the socket and over HTTP, to whoever has the message and to nobody else."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api, assert_problem, problem
from tests.support.device import Device
from tests.support.rules import Frame

Say = Callable[[Frame], Awaitable[Frame]]


@pytest.fixture
async def laptop(service: Service, alice: str) -> AsyncIterator[Device]:
    """Alice's."""
    async with Device(service.url, alice, "laptop") as laptop:
        yield laptop


@pytest.fixture
async def phone(service: Service, bob: str) -> AsyncIterator[Device]:
    """Bob's."""
    async with Device(service.url, bob) as phone:
        yield phone


@pytest.fixture(params=("http", "socket"))
async def say(request: pytest.FixtureRequest, api: Api, laptop: Device) -> Say:
    """Alice says it one way or the other; its `accepted`, or `error` with a code."""

    async def by_http(frame: Frame) -> Frame:
        response = await api.post(frame)
        return {**response.json(), "type": "accepted" if response.status_code < 300 else "error"}

    async def by_socket(frame: Frame) -> Frame:
        await laptop.say(frame)
        return await laptop.answer(frame["id"])

    return by_http if request.param == "http" else by_socket


def change(kind: str, id: str, to: Any, target: Any = "m-1", **more: Any) -> Frame:
    body = {} if kind == "delete" else {"body": more.pop("body", {"text": "new"})}
    return {"type": kind, "id": id, "target": target, "to": to, **body, **more}


async def comes(device: Device, count: int) -> list[Frame]:
    """Waits for so many entries of any kind on this connection; all of them."""
    return await device.wire.until(lambda: device.all if len(device.all) >= count else None, f"{count} entries")


def short(frames: list[Frame]) -> list[str]:
    return [f"{frame['type']} {frame['id']}" for frame in frames if frame["type"] != "receipt"]


# What is said, and who hears it.


async def test_an_edit_reaches_the_recipient_and_the_senders_other_devices(
    say: Say, laptop: Device, phone: Device, alice: str, bob: str
) -> None:
    await say({"type": "send", "id": "m-1", "to": bob, "body": {"text": "old"}})
    told = await say(change("edit", "e-1", bob))
    assert told["type"] == "accepted"
    expected = {
        "type": "edit", "id": "e-1", "target": "m-1", "target_from": alice, "from": alice, "to": bob,
        "body": {"text": "new"},
    }  # fmt: skip
    for device in (phone, laptop):
        message, edit = (await comes(device, 2))[:2]
        assert (message["id"], {name: edit[name] for name in expected}) == ("m-1", expected)
    assert told["recipients"] == [{"to": bob, "cursor": phone.all[1]["cursor"]}]


async def test_a_reaction_goes_to_whom_the_message_came_from_and_can_be_taken_back(
    service: Service, laptop: Device, phone: Device, alice: str, bob: str
) -> None:
    await laptop.send("m-1", bob, "hi")
    await comes(phone, 1)
    for id, body in (("r-1", {"emoji": "👍"}), ("r-2", None)):
        await phone.say(change("react", id, alice, target_from=alice, body=body))
        assert (await phone.answer(id))["type"] == "accepted"
    found = [frame for frame in await comes(laptop, 3) if frame["type"] == "react"]
    assert [(frame["id"], frame["body"], frame["target_from"]) for frame in found] == [
        ("r-1", {"emoji": "👍"}, alice),
        ("r-2", None, alice),
    ]


async def test_a_deleted_message_is_erased_wherever_it_lay(
    say: Say, service: Service, laptop: Device, phone: Device, api: Api, bobs: Api, alice: str, bob: str
) -> None:
    await say({"type": "send", "id": "m-1", "to": bob, "body": {"text": "secret"}})
    await say({"type": "send", "id": "m-2", "to": bob, "body": {"text": "stays"}})
    await comes(phone, 2)
    assert (await say(change("delete", "d-1", bob)))["type"] == "accepted"
    assert short(await comes(phone, 3)) == ["message m-1", "message m-2", "delete d-1"]
    for user, asking in ((bob, bobs), (alice, api)):
        page = await asking.get("/v1/inbox", device="new", after="0-0")
        frames = [frame for frame in page["entries"] if frame["type"] != "receipt"]
        assert short(frames) == ["deleted m-1", "message m-2", "delete d-1"]
        gone = frames[0]
        assert {**gone, "cursor": "", "ts": 0} == {
            "type": "deleted", "id": "m-1", "from": alice, "to": bob, "cursor": "", "ts": 0, "replay": True,
        }  # fmt: skip
        history = await asking.get("/v1/inbox/history", **{"with": bob if user == alice else alice})
        assert short(history["entries"])[::-1] == short(frames)
        assert "secret" not in json.dumps([page, history])
    tablet = Device(service.url, bob, "tablet")
    await tablet.connect(cursor="0-0")
    assert short(await comes(tablet, 3)) == ["deleted m-1", "message m-2", "delete d-1"]
    await tablet.close()


async def test_a_device_that_stands_on_a_deleted_message_goes_on_from_there(
    service: Service, api: Api, bob: str
) -> None:
    cursors = await api.fill(bob, 3)
    phone = Device(service.url, bob)
    await phone.connect(window=1)
    await comes(phone, 1)
    await phone.ack()
    await phone.close()
    await api.post(change("delete", "d-1", bob, target="m1"))
    await phone.connect(cursor=cursors[0])
    assert short(await comes(phone, 3)) == ["message m2", "message m3", "delete d-1"]
    await phone.close()


async def test_an_event_stream_and_a_long_poll_show_what_was_deleted(
    service: Service, api: Api, bobs: Api, bob: str
) -> None:
    await api.fill(bob, 2)
    await api.post(change("delete", "d-1", bob, target="m1"))
    page = await bobs.get("/v1/inbox", device="phone", after="0-0", wait=5)
    assert short(page["entries"]) == ["deleted m1", "message m2", "delete d-1"]
    async with bobs.http.stream(
        "GET", "/v1/events", params={"device": "web"}, headers={"Last-Event-ID": "0-0"}
    ) as events:
        seen = []
        async for line in events.aiter_lines():
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
            if seen[-1:] == ["live"]:
                break
    assert [kind for kind in seen if kind != "welcome"] == ["deleted", "message", "delete", "live"]


async def test_a_message_to_several_is_changed_for_several(say: Say, bobs: Api, bob: str, carol: str) -> None:
    await say({"type": "send", "id": "m-1", "to": [bob, carol], "body": 1})
    told = await say(change("edit", "e-1", [bob, carol]))
    assert [row["to"] for row in told["recipients"]] == [bob, carol]
    told = await say(change("delete", "d-1", [bob, carol]))
    assert [row["to"] for row in told["recipients"]] == [bob, carol]
    assert short((await bobs.get("/v1/inbox", device="phone", after="0-0"))["entries"]) == [
        "deleted m-1",
        "edit e-1",
        "delete d-1",
    ]


# Identity and order.


async def test_the_same_change_again_changes_nothing_whatever_became_of_its_target(
    say: Say, bobs: Api, bob: str
) -> None:
    await say({"type": "send", "id": "m-1", "to": bob, "body": 1})
    first = {
        id: await say(change(kind, id, bob)) for kind, id in (("edit", "e-1"), ("react", "r-1"), ("delete", "d-1"))
    }
    for kind, id in (("edit", "e-1"), ("react", "r-1"), ("delete", "d-1")):
        again = await say(change(kind, id, bob))
        assert (again["duplicate"], again["recipients"]) == (True, first[id]["recipients"])
    assert (await say(change("edit", "e-1", bob, body="another")))["code"] == "id_reused"
    assert len((await bobs.get("/v1/inbox", device="phone", after="0-0"))["entries"]) == 4


async def test_ids_of_changes_and_of_messages_are_their_own(say: Say, bob: str) -> None:
    assert (await say({"type": "send", "id": "x", "to": bob, "body": 1}))["type"] == "accepted"
    for kind in ("edit", "react", "delete"):
        assert (await say(change(kind, "x", bob, target="x")))["duplicate"] is False


async def test_what_was_sent_just_before_can_be_changed_at_once(laptop: Device, phone: Device, bob: str) -> None:
    """All in one frame: nothing of it has an answer yet."""
    frames: list[Frame] = []
    for n in range(20):
        frames += [
            {"type": "send", "id": f"m-{n}", "to": bob, "body": n},
            change("edit", f"e-{n}", bob, target=f"m-{n}"),
            change("react", f"r-{n}", bob, target=f"m-{n}", body="x"),
        ]
    await laptop.say(*frames)
    for frame in frames:
        assert (await laptop.answer(frame["id"]))["type"] == "accepted"
    assert [frame["id"] for frame in await comes(phone, 60)] == [frame["id"] for frame in frames]


async def test_a_batch_is_taken_in_its_order_changes_included(api: Api, bobs: Api, bob: str) -> None:
    items = [
        {"id": "m-1", "to": bob, "body": 1},
        {"type": "send", "id": "m-2", "to": bob, "body": 2},
        change("edit", "e-1", bob),
        change("edit", "e-0", bob, target="m-3"),
        change("delete", "d-1", bob),
        {"id": "m-3", "to": bob, "body": 3},
        change("react", "r-1", bob, target="m-3", body="x"),
        {**change("edit", "", bob, target="m-2"), "id": None},
        change("shout", "s-1", bob),
    ]
    response = await api.http.post("/v1/messages/batch", json={"messages": items})
    results = response.json()["results"]
    assert [result["status"] for result in results] == [202, 202, 202, 404, 202, 202, 202, 202, 422]
    assert_problem(results[3], 404, "no_such_message", "target")
    assert_problem(results[8], 422, "invalid_field", "type")
    entries = (await bobs.get("/v1/inbox", device="phone", after="0-0"))["entries"]
    made = results[7]["id"]
    assert short(entries) == [
        "deleted m-1", "message m-2", "edit e-1", "delete d-1", "message m-3", "react r-1", f"edit {made}",
    ]  # fmt: skip


# What is refused.


async def test_a_target_that_is_not_known_there_is_told_for_each_recipient(say: Say, bob: str, carol: str) -> None:
    assert (await say(change("edit", "e-0", bob)))["code"] == "no_such_message"
    await say({"type": "send", "id": "m-1", "to": bob, "body": 1})
    told = await say(change("edit", "e-1", [carol, bob]))
    assert told["recipients"][0] == {"to": carol, "error": "no_such_message"}
    assert "cursor" in told["recipients"][1]
    told = await say(change("delete", "d-1", [carol]))
    assert (told["code"], told["recipients"]) == ("no_such_message", [{"to": carol, "error": "no_such_message"}])
    assert "retryable" not in told or told["retryable"] is False


@pytest.mark.parametrize("kind", ("edit", "delete"))
async def test_nobody_changes_anothers_message(
    kind: str, laptop: Device, phone: Device, bobs: Api, alice: str, bob: str
) -> None:
    await laptop.send("m-1", bob, "mine")
    await comes(phone, 1)
    problem(await bobs.post(change(kind, "x-1", alice, target_from=alice)), 422, "invalid_field", "target_from")
    problem(await bobs.post(change(kind, "x-2", alice)), 404, "no_such_message", "target")
    problem(await bobs.post(change(kind, "x-3", bob)), 404, "no_such_message", "target")
    await phone.say(change(kind, "x-4", alice, target_from=alice))
    told = await phone.answer("x-4")
    assert (told["code"], told["field"]) == ("invalid_field", "target_from")
    assert short((await bobs.get("/v1/inbox", device="again", after="0-0"))["entries"]) == ["message m-1"]


async def test_who_never_got_a_message_cannot_react_to_it_nor_learn_of_it(
    service: Service, api: Api, alice: str, bob: str, carol: str
) -> None:
    await api.send([bob, carol], "hi", "m-1")
    async with Api(service.url, "mallory") as mallory, Api(service.url, bob) as bobs:
        asked = change("react", "r-1", alice, target_from=alice)
        problem(await mallory.post(asked), 404, "no_such_message", "target")
        problem(await mallory.post({**asked, "to": bob}), 404, "no_such_message", "target")
        # Bob has it, and is not told that Carol has it, too.
        problem(await bobs.post({**asked, "to": carol}), 404, "no_such_message", "target")
        assert (await bobs.post(asked)).status_code == 202


async def test_of_a_deleted_message_nothing_more_is_said(say: Say, bob: str) -> None:
    await say({"type": "send", "id": "m-1", "to": bob, "body": 1})
    await say(change("delete", "d-1", bob))
    assert (await say(change("edit", "e-1", bob)))["code"] == "no_such_message"
    assert (await say(change("react", "r-1", bob)))["code"] == "no_such_message"
    assert (await say(change("delete", "d-2", bob)))["code"] == "no_such_message"
    again = await say(change("delete", "d-1", bob))
    assert (again["type"], again["duplicate"]) == ("accepted", True)


def nested(levels: int) -> Any:
    body: Any = 0
    for _ in range(levels):
        body = [body]
    return body


@pytest.mark.parametrize(
    ("asked", "code", "field"),
    (
        (change("react", "x", "bob", body="x" * 1023), "too_large", "body"),
        (change("edit", "x", "bob", body="x" * 65_536), "too_large", "body"),
        (change("edit", "x", "bob", body=nested(65)), "invalid_field", "body"),
        (change("react", "x", "bob", body=nested(65)), "invalid_field", "body"),
        (change("edit", "x", ["bob", "bob"]), "invalid_field", "to"),
        (change("edit", "x", []), "invalid_field", "to"),
        (change("edit", "x", "bob", target=""), "invalid_field", "target"),
        (change("edit", "x", "bob", target="a" * 65), "invalid_field", "target"),
        (change("edit", "x", "bob", target=7), "invalid_field", "target"),
        (change("edit", "x", "bob", target_from=""), "invalid_field", "target_from"),
        (change("edit", "x", "bob", group="team"), "invalid_field", "to"),
        (change("edit", "x", "bob", expires_in=5), "invalid_field", "expires_in"),
        ({**change("delete", "x", "bob"), "body": 1}, "invalid_field", "body"),
        ({"type": "edit", "id": "x", "to": "bob", "target": "m"}, "invalid_field", "body"),
        ({"type": "edit", "id": "x", "to": "bob", "body": 1}, "invalid_field", "target"),
        ({"type": "edit", "id": "x", "target": "m", "body": 1}, "invalid_field", "to"),
    ),
)
async def test_what_breaks_a_rule_is_refused_and_the_connection_stays(
    say: Say, laptop: Device, asked: Frame, code: str, field: str
) -> None:
    told = await say(asked)
    assert (told["type"], told["code"], told["field"]) == ("error", code, field)
    await laptop.ping()


async def test_a_reaction_of_1024_bytes_and_a_body_of_64_levels_are_taken(say: Say, bob: str) -> None:
    await say({"type": "send", "id": "m-1", "to": bob, "body": 1})
    assert (await say(change("react", "r-1", bob, body="x" * 1022)))["type"] == "accepted"
    assert (await say(change("edit", "e-1", bob, body=nested(64))))["type"] == "accepted"


async def test_the_id_may_stand_in_the_header(api: Api, bob: str) -> None:
    await api.send(bob, 1, "m-1")
    asked = change("edit", "", bob)
    del asked["id"]
    response = await api.http.post("/v1/messages", json=asked, headers={"Idempotency-Key": '"e-1"'})
    assert (response.status_code, response.json()["id"]) == (202, "e-1")
    response = await api.http.post("/v1/messages", json={**asked, "id": "e-2"}, headers={"Idempotency-Key": "e-1"})
    problem(response, 422, "invalid_field", "id")


async def test_an_edit_of_what_expires_goes_with_it(api: Api, bobs: Api, bob: str) -> None:
    await api.send(bob, 1, "m-1", expires_in=1)
    assert (await api.post(change("edit", "e-1", bob))).status_code == 202

    async def over() -> bool:
        page = await bobs.get("/v1/inbox", device="late", after="0-0")
        return [entry["type"] for entry in page["entries"]] == ["gap"]

    await eventually_async(over, "both expire")

"""Edits, deletions and reactions in groups: every member hears of them; a deleted message is gone from all inboxes."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from scripts.lab.service import Service
from tests.edge.test_changes import comes
from tests.support.api import Api, problem
from tests.support.device import Device
from tests.support.rules import Frame


@pytest.fixture
async def team(api: Api, named: Any, bob: str, carol: str) -> str:
    """A group of Alice, who owns it, Bob and Carol."""
    name: str = named("team")
    response = await api.http.put(f"/v1/groups/{name}", json={"members": [bob, carol]})
    assert response.status_code == 201, response.text
    return name


@pytest.fixture
async def phone(service: Service, bob: str) -> AsyncIterator[Device]:
    """Bob's."""
    async with Device(service.url, bob) as phone:
        yield phone


def change(kind: str, id: str, team: str, target: str = "m-1", **more: Any) -> Frame:
    body = {} if kind == "delete" else {"body": {"text": "new"}}
    return {"type": kind, "id": id, "target": target, "group": team, **body, **more}


def short(frames: list[Frame]) -> list[str]:
    told = [frame for frame in frames if "group" in frame and frame["type"] not in ("receipt", "read")]
    return [f"{frame['seq']} {frame['type']} {frame['id']}" for frame in told]


async def inbox(service: Service, user: str) -> list[Frame]:
    async with Api(service.url, user) as asking:
        return list((await asking.get("/v1/inbox", device="looker", after="0-0"))["entries"])


async def test_changes_take_numbers_as_messages_do_and_reach_every_member(
    service: Service, api: Api, phone: Device, alice: str, bob: str, carol: str, team: str
) -> None:
    assert (await api.post({"id": "m-1", "group": team, "body": "old"})).json()["seq"] == 2
    assert (await api.post(change("edit", "e-1", team))).json()["seq"] == 3
    await comes(phone, 3)
    await phone.say(change("react", "r-1", team, target_from=alice))
    told = await phone.answer("r-1")
    assert (told["type"], told["group"], told["seq"], told["members"]) == ("accepted", team, 4, 3)
    for user in (alice, bob, carol):
        frames = await inbox(service, user)
        assert short(frames)[1:] == ["2 message m-1", "3 edit e-1", "4 react r-1"]
        assert [frame["target_from"] for frame in frames if "target" in frame] == [alice, alice]


async def test_a_deleted_message_is_gone_from_every_inbox_and_its_number_stays(
    service: Service, api: Api, phone: Device, alice: str, bob: str, carol: str, team: str
) -> None:
    for id in ("m-1", "m-2"):
        await api.post({"id": id, "group": team, "body": f"secret {id}"})
    await comes(phone, 3)
    first = (await api.post(change("delete", "d-1", team))).json()
    again = (await api.post(change("delete", "d-1", team))).json()
    assert (first["seq"], again["seq"], again["duplicate"]) == (4, 4, True)
    assert short(await comes(phone, 4))[-1] == "4 delete d-1"
    for user in (alice, bob, carol):
        frames = await inbox(service, user)
        assert short(frames)[1:] == ["2 deleted m-1", "3 message m-2", "4 delete d-1"]
        assert "secret m-1" not in json.dumps(frames)
        async with Api(service.url, user) as asking:
            page = await asking.get("/v1/inbox/history", group=team)
        assert short(page["entries"])[::-1] == short(frames)
        assert page["entries"][2]["group"] == team


async def test_a_message_and_its_change_may_come_in_one_frame_and_in_one_batch(
    api: Api, phone: Device, bob: str, team: str
) -> None:
    await phone.say({"type": "send", "id": "m-1", "group": team, "body": 1}, change("edit", "e-1", team))
    for id in ("m-1", "e-1"):
        assert (await phone.answer(id))["type"] == "accepted"
    items = [
        {"id": "m-1", "to": bob, "body": 1},
        change("react", "r-1", team, target_from=bob),
        {"type": "delete", "id": "d-1", "target": "m-1", "to": bob},
    ]
    response = await api.http.post("/v1/messages/batch", json={"messages": items})
    assert [result["status"] for result in response.json()["results"]] == [202, 202, 202]


async def test_what_is_not_there_or_not_ones_own_is_refused(
    service: Service, api: Api, bobs: Api, alice: str, bob: str, team: str
) -> None:
    await api.post({"id": "m-1", "group": team, "body": 1})
    problem(await api.post(change("edit", "e-1", team, target="m-2")), 404, "no_such_message")
    problem(await bobs.post(change("edit", "e-1", team)), 404, "no_such_message")
    problem(await bobs.post(change("edit", "e-1", team, target_from=alice)), 422, "invalid_field", "target_from")
    problem(await bobs.post(change("delete", "d-1", team, target_from=alice)), 422, "invalid_field", "target_from")
    problem(await api.post({**change("edit", "e-1", team), "to": bob, "group": None}), 404, "no_such_message")
    async with Api(service.url, "mallory") as mallory:
        problem(await mallory.post(change("react", "r-1", team, target_from=alice)), 404, "no_such_group")
    await api.post(change("delete", "d-1", team))
    for kind in ("edit", "delete"):
        problem(await api.post(change(kind, f"{kind}-2", team)), 404, "no_such_message")
    problem(await bobs.post(change("react", "r-2", team, target_from=alice)), 404, "no_such_message")


async def test_history_of_a_group_goes_both_ways_and_is_its_own(api: Api, bobs: Api, bob: str, team: str) -> None:
    for n in range(5):
        await api.post({"id": f"m-{n}", "group": team, "body": n})
        await api.send(bob, n, f"direct-{n}")
    page = await bobs.get("/v1/inbox/history", group=team, limit=3)
    assert (short(page["entries"]), page["more"]) == (["6 message m-4", "5 message m-3", "4 message m-2"], True)
    older = await bobs.get("/v1/inbox/history", group=team, before=page["entries"][-1]["cursor"])
    assert short(older["entries"])[:2] == ["3 message m-1", "2 message m-0"]
    newer = await bobs.get("/v1/inbox/history", group=team, after=older["entries"][0]["cursor"], limit=2)
    assert (short(newer["entries"]), newer["more"]) == (["4 message m-2", "5 message m-3"], True)
    problem(
        await bobs.http.get("/v1/inbox/history", params={"group": team, "with": bob}), 422, "invalid_field", "group"
    )
    both = {"before": "9-9", "after": "0-0"}
    problem(await bobs.http.get("/v1/inbox/history", params=both), 422, "invalid_field", "after")

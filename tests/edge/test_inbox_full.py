"""A full inbox refuses what is new, drops nothing, and takes messages again once a device has acked."""

from collections.abc import AsyncIterator, Callable

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api, problem
from tests.support.device import Device

LIMIT = 5


@pytest.fixture(scope="module")
def small(serve: Callable[..., Service]) -> Service:
    return serve(max_pending=LIMIT)


@pytest.fixture
async def api(small: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(small.url, alice) as api:
        yield api


async def test_past_the_limit_a_send_is_refused_and_nothing_older_dropped(api: Api, bob: str) -> None:
    cursors = await api.fill(bob, LIMIT)
    problem(await api.post({"to": bob, "body": 1, "id": "one-more"}), 507, "inbox_full")
    assert [entry["cursor"] for entry in await entries_of(api, bob)] == cursors


async def entries_of(api: Api, user: str) -> list[dict[str, str]]:
    response = await api.http.get("/v1/inbox", params={"device": "d"}, headers={"X-Inboxd-User": user})
    return list(response.json()["entries"])


async def test_a_repeat_is_answered_though_the_inbox_is_full(api: Api, bob: str) -> None:
    cursors = await api.fill(bob, LIMIT)
    again = await api.post({"id": "m1", "to": bob, "body": 1})
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert again.json()["recipients"][0]["cursor"] == cursors[0]


async def test_another_body_under_a_known_id_is_told_though_the_inbox_is_full(api: Api, bob: str) -> None:
    await api.fill(bob, LIMIT)
    problem(await api.post({"id": "m1", "to": bob, "body": "other"}), 422, "id_reused")


async def test_what_was_refused_may_be_sent_again_with_its_id(small: Service, api: Api, bob: str) -> None:
    await api.fill(bob, LIMIT)
    problem(await api.post({"id": "late", "to": bob, "body": 1}), 507, "inbox_full")
    async with Device(small.url, bob) as phone:
        await phone.receive(LIMIT)
        await phone.ack()
        await eventually_async(lambda: acked(api, phone), "the ack is stored")
        assert (await api.post({"id": "late", "to": bob, "body": 1})).status_code == 202
        entries = await phone.receive(LIMIT + 1)
        assert entries[-1]["id"] == "late"


async def acked(api: Api, device: Device) -> bool:
    return await api.stored(device.user, device.name) == str(device.acked)


async def test_one_full_inbox_of_several_is_told_and_the_others_get_it(api: Api, bob: str, carol: str) -> None:
    await api.fill(bob, LIMIT)
    response = await api.post({"id": "both", "to": [bob, carol], "body": 1})
    assert response.status_code == 202
    first, second = response.json()["recipients"]
    assert first == {"to": bob, "error": "inbox_full"}
    assert second["to"] == carol
    assert second["cursor"].endswith("-1")


async def test_with_nothing_new_but_some_refused_the_status_is_200(api: Api, bob: str, carol: str) -> None:
    await api.fill(bob, LIMIT)
    await api.post({"id": "both", "to": [bob, carol], "body": 1})
    again = await api.post({"id": "both", "to": [bob, carol], "body": 1})
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert [one.get("error") for one in again.json()["recipients"]] == ["inbox_full", None]


async def test_all_full_is_a_problem_with_the_same_list(api: Api, bob: str, carol: str) -> None:
    await api.fill(bob, LIMIT)
    await api.fill(carol, LIMIT, prefix="c")
    response = await api.post({"to": [bob, carol], "body": 1})
    content = problem(response, 507, "inbox_full")
    assert content["recipients"] == [{"to": bob, "error": "inbox_full"}, {"to": carol, "error": "inbox_full"}]


async def test_in_a_batch_the_message_past_the_limit_is_the_one_refused(api: Api, bob: str) -> None:
    messages = [{"id": f"m{number}", "to": bob, "body": number} for number in range(LIMIT + 2)]
    response = await api.http.post("/v1/messages/batch", json={"messages": messages})
    assert [result["status"] for result in response.json()["results"]] == [202] * LIMIT + [507] * 2


async def test_the_socket_tells_a_full_inbox_as_an_error_and_stays(
    small: Service, api: Api, alice: str, bob: str, carol: str
) -> None:
    await api.fill(bob, LIMIT)
    async with Device(small.url, alice) as phone:
        error = await phone.send("m-1", bob, 1)
        assert (error["type"], error["code"]) == ("error", "inbox_full")
        assert (await phone.send("m-2", carol, 1))["type"] == "accepted"


async def test_only_the_furthest_device_counts(small: Service, api: Api, bob: str) -> None:
    async with Device(small.url, bob, "slow"), Device(small.url, bob, "quick") as quick:
        for number in range(2 * LIMIT):
            await api.send(bob, number)
            await quick.receive(number + 1)
            await quick.ack()
            await eventually_async(lambda: acked(api, quick), "the ack is stored")
        assert (await api.inbox(bob))["pending"] == 0


async def test_own_copies_are_left_out_past_the_limit_and_never_a_reason_to_refuse(
    small: Service, api: Api, alice: str, bob: str, named: Callable[[str], str]
) -> None:
    async with Device(small.url, alice) as phone:
        for number in range(LIMIT + 3):
            assert (await phone.send(f"m-{number}", named(f"peer{number}"), 1))["type"] == "accepted"
        await phone.receive(LIMIT)
        view = await api.inbox(alice)
        assert (view["length"], view["pending"]) == (LIMIT, LIMIT)
        assert len(phone.entries) == LIMIT
    with small.store() as store:
        assert store.hget(f"chat:state:{{{alice}}}", "left_out") == "3"

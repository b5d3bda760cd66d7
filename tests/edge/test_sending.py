"""`POST /v1/messages`: what an acceptance says, ids, repeats, several recipients."""

import asyncio
import re
import time
from typing import Any

import pytest

from tests.support.api import Api, assert_problem, problem
from tests.support.cursors import Cursor

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


async def test_an_acceptance_has_exactly_the_fields_of_the_protocol(api: Api, alice: str, bob: str) -> None:
    before = time.time() * 1000
    response = await api.post({"id": "m-17", "to": bob, "body": {"text": "hi"}, "expires_in": 86400})
    assert response.status_code == 202
    assert response.headers["content-type"].partition(";")[0] == "application/json"
    content = response.json()
    cursor = Cursor.parse(content["recipients"][0]["cursor"])
    ts = content.pop("ts")
    assert type(ts) is int
    assert before - 1000 <= ts <= time.time() * 1000 + 1000
    assert cursor.seq == 1
    assert content == {
        "id": "m-17",
        "from": alice,
        "duplicate": False,
        "durability": "fsynced",
        "recipients": [{"to": bob, "cursor": str(cursor)}],
    }


async def test_an_accepted_message_is_in_the_recipients_inbox(api: Api, bobs: Api, alice: str, bob: str) -> None:
    sent = await api.send(bob, {"text": "hi"}, "m-1")
    page = await bobs.get("/v1/inbox", device="phone")
    cursor = sent["recipients"][0]["cursor"]
    assert len(page["entries"]) == 1
    entry = page["entries"][0]
    assert (entry["type"], entry["id"], entry["from"], entry["to"]) == ("message", "m-1", alice, bob)
    assert (entry["body"], entry["cursor"], page["head"]) == ({"text": "hi"}, cursor, cursor)


async def test_cursors_of_one_inbox_count_from_one_without_holes(api: Api, bob: str) -> None:
    cursors = [Cursor.parse((await api.send(bob))["recipients"][0]["cursor"]) for _ in range(5)]
    assert [cursor.seq for cursor in cursors] == [1, 2, 3, 4, 5]
    assert cursors == sorted(cursors)


async def test_without_an_id_the_server_makes_a_uuid_of_version_7(api: Api, bob: str) -> None:
    first, second = await api.send(bob), await api.send(bob)
    assert UUID7.fullmatch(first["id"])
    assert first["id"] != second["id"]


async def test_the_id_may_be_given_as_the_header_idempotency_key(api: Api, bob: str) -> None:
    headers = {"Idempotency-Key": "key-1"}
    first = await api.http.post("/v1/messages", json={"to": bob, "body": 1}, headers=headers)
    again = await api.http.post("/v1/messages", json={"to": bob, "body": 1}, headers=headers)
    assert (first.status_code, first.json()["id"]) == (202, "key-1")
    assert (again.status_code, again.json()["duplicate"]) == (200, True)


async def test_the_header_and_the_field_may_agree_on_an_id(api: Api, bob: str) -> None:
    headers = {"Idempotency-Key": "key-1"}
    content = {"id": "key-1", "to": bob, "body": 1}
    assert (await api.http.post("/v1/messages", json=content, headers=headers)).status_code == 202


async def test_a_header_and_a_field_that_differ_are_refused(api: Api, bob: str) -> None:
    headers = {"Idempotency-Key": "key-1"}
    response = await api.http.post("/v1/messages", json={"id": "b", "to": bob, "body": 1}, headers=headers)
    problem(response, 422, "invalid_field")


@pytest.mark.parametrize("key", ("", "a b", "x" * 65, 'quo"te', "a/b"))
async def test_a_header_that_is_no_id_is_refused(api: Api, bob: str, key: str) -> None:
    response = await api.http.post("/v1/messages", json={"to": bob, "body": 1}, headers={"Idempotency-Key": key})
    problem(response, 422, "invalid_field")


async def test_a_backend_may_name_another_sender(api: Api, bob: str, carol: str) -> None:
    assert (await api.send(bob, "hi", **{"from": carol}))["from"] == carol


# Repeats


async def test_a_repeat_gets_the_original_answer(api: Api, bob: str) -> None:
    first = await api.post({"id": "m-1", "to": bob, "body": {"a": 1}})
    await api.send(bob, "another")
    again = await api.post({"id": "m-1", "to": bob, "body": {"a": 1}})
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == {**first.json(), "duplicate": True}
    assert (await api.inbox(bob))["length"] == 2


async def test_the_order_of_keys_does_not_make_another_body(api: Api, bob: str) -> None:
    await api.post_raw(f'{{"id": "m", "to": "{bob}", "body": {{"a": 1, "b": {{"c": 2, "d": [3]}}}}}}')
    again = await api.post_raw(f'{{"body": {{"b": {{"d": [3], "c": 2}}, "a": 1}}, "to": "{bob}", "id": "m"}}')
    assert (again.status_code, again.json()["duplicate"]) == (200, True)


async def test_spaces_and_escapes_do_not_make_another_body(api: Api, bob: str) -> None:
    await api.post_raw(f'{{"id":"m","to":"{bob}","body":{{"a":"\u00e9/"}}}}')
    again = await api.post_raw(f'{{"id":"m","to":"{bob}","body": {{ "a" : "\\u00e9\\/" }} }}')
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("first", "second"),
    (
        ({"a": 1}, {"a": 2}),
        ([1, 2], [2, 1]),
        (1, "1"),
        (True, 1),
        (None, False),
        ({}, []),
        ({"a": 1}, {"a": 1, "b": None}),
    ),
)
async def test_another_body_under_the_same_id_is_refused(api: Api, bob: str, first: Any, second: Any) -> None:
    sent = await api.send(bob, first, "m-1")
    problem(await api.post({"id": "m-1", "to": bob, "body": second}), 422, "id_reused", "id")
    assert (await api.inbox(bob))["last"] == sent["recipients"][0]["cursor"]


async def test_ids_belong_to_their_sender(api: Api, bobs: Api, carol: str) -> None:
    assert not (await api.send(carol, 1, "same"))["duplicate"]
    assert not (await bobs.send(carol, 2, "same"))["duplicate"]


async def test_twenty_repeats_at_once_make_one_entry(api: Api, bob: str) -> None:
    content = {"id": "m-1", "to": bob, "body": {"text": "hi"}}
    answers = await asyncio.gather(*(api.post(content) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    assert len({answer.json()["recipients"][0]["cursor"] for answer in answers}) == 1
    assert (await api.inbox(bob))["length"] == 1


async def test_sends_at_once_get_cursors_without_holes(api: Api, bob: str) -> None:
    answers = await asyncio.gather(*(api.send(bob, number) for number in range(200)))
    cursors = sorted(Cursor.parse(answer["recipients"][0]["cursor"]) for answer in answers)
    assert [cursor.seq for cursor in cursors] == list(range(1, 201))


# Several recipients


async def test_each_recipient_of_a_list_gets_the_message_at_a_cursor_of_its_own(
    api: Api, bobs: Api, bob: str, carol: str
) -> None:
    await api.send(carol, "before")
    sent = await api.send([bob, carol], "both", "m-1")
    assert [one["to"] for one in sent["recipients"]] == [bob, carol]
    assert [Cursor.parse(one["cursor"]).seq for one in sent["recipients"]] == [1, 2]
    entry = (await bobs.get("/v1/inbox", device="d"))["entries"][0]
    assert entry["to"] == bob, "a recipient is not told who else got it"


async def test_a_list_of_one_is_a_list(api: Api, bob: str) -> None:
    assert len((await api.send([bob]))["recipients"]) == 1


async def test_a_repeat_to_a_list_gets_the_original_cursors(api: Api, bob: str, carol: str) -> None:
    first = await api.send([bob, carol], 1, "m-1")
    again = await api.post({"id": "m-1", "to": [bob, carol], "body": 1})
    assert again.status_code == 200
    assert again.json() == {**first, "duplicate": True}


async def test_with_a_new_recipient_each_says_duplicate_for_itself(api: Api, bob: str, carol: str) -> None:
    first = await api.send([bob], 1, "m-1")
    again = await api.post({"id": "m-1", "to": [bob, carol], "body": 1})
    assert again.status_code == 202
    assert again.json()["recipients"][0] == {**first["recipients"][0], "duplicate": True}
    assert again.json()["recipients"][1]["duplicate"] is False


async def test_the_same_id_to_another_recipient_later_is_delivered(api: Api, bob: str, carol: str) -> None:
    await api.send(bob, "one", "m-1")
    assert (await api.post({"id": "m-1", "to": carol, "body": "two"})).status_code == 202


# Batches


async def test_a_batch_answers_each_message_in_its_place(api: Api, alice: str, bob: str) -> None:
    messages = [{"id": f"m-{number}", "to": bob, "body": number} for number in range(3)]
    response = await api.http.post("/v1/messages/batch", json={"messages": messages})
    assert response.status_code == 200
    results = response.json()["results"]
    assert [result["id"] for result in results] == ["m-0", "m-1", "m-2"]
    assert [Cursor.parse(result["recipients"][0]["cursor"]).seq for result in results] == [1, 2, 3]
    for result in results:
        assert result.keys() == {"id", "from", "ts", "duplicate", "durability", "recipients", "status"}
        assert (result["status"], result["from"], result["duplicate"]) == (202, alice, False)


async def test_one_bad_message_of_a_batch_does_not_spoil_the_others(api: Api, bob: str) -> None:
    messages: list[Any] = [
        {"id": "good-1", "to": bob, "body": 1},
        {"id": "bad id", "to": bob, "body": 1},
        {"to": bob},
        "no object",
        {"id": "good-1", "to": bob, "body": 1},
        {"id": "good-1", "to": bob, "body": 2},
        {"id": "big", "to": bob, "body": "x" * 65_535},
        {"id": "good-2", "to": bob, "body": 2},
    ]
    response = await api.http.post("/v1/messages/batch", json={"messages": messages})
    assert response.status_code == 200
    results = response.json()["results"]
    assert [result["status"] for result in results] == [202, 422, 422, 422, 200, 422, 413, 202]
    assert_problem(results[1], 422, "invalid_field", "id")
    assert_problem(results[2], 422, "invalid_field", "body")
    assert_problem(results[3], 422, "invalid_field")
    assert results[4]["duplicate"] is True
    assert_problem(results[5], 422, "id_reused", "id")
    assert_problem(results[6], 413, "too_large", "body")
    assert (await api.inbox(bob))["length"] == 2


async def test_a_repeated_batch_is_all_repeats(api: Api, bob: str) -> None:
    content = {"messages": [{"id": f"m-{number}", "to": bob, "body": number} for number in range(50)]}
    first = (await api.http.post("/v1/messages/batch", json=content)).json()["results"]
    again = (await api.http.post("/v1/messages/batch", json=content)).json()["results"]
    assert again == [{**result, "duplicate": True, "status": 200} for result in first]


async def test_a_batch_takes_a_thousand_messages_and_no_more(api: Api, bob: str) -> None:
    messages = [{"to": bob, "body": number} for number in range(1001)]
    response = await api.http.post("/v1/messages/batch", json={"messages": messages[:1000]})
    assert [result["status"] for result in response.json()["results"]] == [202] * 1000
    response = await api.http.post("/v1/messages/batch", json={"messages": messages})
    problem(response, 422, "invalid_field", "messages")
    assert (await api.inbox(bob))["length"] == 1000, "of a batch too long nothing is sent"


@pytest.mark.parametrize("content", ({}, [], {"messages": {}}, {"messages": [], "more": 1}, "x", 1))
async def test_a_batch_of_another_shape_is_refused(api: Api, content: Any) -> None:
    problem(await api.http.post("/v1/messages/batch", json=content), 422, "invalid_field")

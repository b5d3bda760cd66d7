"""Requests with tokens: who they are, whom they may send for, and what counts for nothing any more."""

import json

import pytest

from scripts.lab.service import Service
from tests.support.api import Api, assert_problem, problem
from tests.support.issuer import Issuer, unsigned


def token(user: str, scope: str | None = None) -> str:
    return Issuer().token(user, scope)


def alices(guarded: Service, alice: str, scope: str | None = None) -> Api:
    return Api(guarded.url, token=token(alice, scope))


async def test_a_message_is_from_the_tokens_user_and_reaches_its_recipient(
    guarded: Service, alice: str, bob: str
) -> None:
    async with alices(guarded, alice) as api, Api(guarded.url, token=token(bob)) as bobs:
        sent = await api.send(bob, {"text": "hi"}, "m-1")
        assert sent["from"] == alice
        (entry,) = (await bobs.get("/v1/inbox", device="phone"))["entries"]
        assert (entry["from"], entry["body"]) == (alice, {"text": "hi"})
        acked = await bobs.http.post("/v1/inbox/ack", json={"device": "phone", "cursor": entry["cursor"]})
        assert acked.status_code == 204
        assert len((await bobs.get("/v1/inbox/history"))["entries"]) == 1


async def test_only_a_backend_may_send_for_others(guarded: Service, alice: str, bob: str, carol: str) -> None:
    async with alices(guarded, alice) as api:
        for sender in (carol, alice):
            content = problem(await api.post({"to": bob, "body": 1, "from": sender}), 403, "forbidden")
            assert "send:any" in content["detail"]
    async with alices(guarded, alice, "send:any") as api:
        assert (await api.send(bob, 1, **{"from": carol}))["from"] == carol
        assert (await api.send(bob, 2))["from"] == alice


async def test_in_a_batch_only_the_items_for_others_are_refused(guarded: Service, alice: str, bob: str) -> None:
    async with alices(guarded, alice) as api:
        messages = [{"to": bob, "body": 1}, {"to": bob, "body": 2, "from": "carol"}, {"to": bob, "body": 3}]
        results = (await api.http.post("/v1/messages/batch", json={"messages": messages})).json()["results"]
        assert [result["status"] for result in results] == [202, 403, 202]
        assert_problem(results[1], 403, "forbidden")


@pytest.mark.parametrize(
    "header",
    (
        "",
        "Bearer",
        "Basic YWxpY2U6eA==",
        "Token x",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer " + "x" * 9000,
        "Bearer " + "[" * 5000,
        f"Bearer {unsigned({'sub': 'alice', 'exp': 2**33})}",
        f"Bearer {Issuer().token('alice', lasts=-1)}",
        f"Bearer {Issuer().token('no name')}",
        f"Bearer {Issuer().token('alice')} {Issuer().token('alice')}",
    ),
    ids=range(12),
)
async def test_a_header_that_is_no_good_token_is_answered_401(guarded: Service, header: str) -> None:
    async with Api(guarded.url) as api:
        answer = await api.http.get("/v1/inbox", headers={"Authorization": header})
        content = problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        sent = header.rpartition(" ")[2]
        assert sent in {"", "Bearer"} or sent not in content["detail"]


async def test_two_headers_are_one_too_many(guarded: Service, alice: str) -> None:
    good = ("Authorization", f"Bearer {token(alice)}")
    async with Api(guarded.url) as api:
        assert (await api.http.get("/v1/inbox/history", headers=[good])).status_code == 200
        problem(await api.http.get("/v1/inbox/history", headers=[good, good]), 401, "unauthenticated")


async def test_the_word_bearer_may_be_written_in_any_case(guarded: Service, alice: str) -> None:
    async with Api(guarded.url) as api:
        answer = await api.http.get("/v1/inbox/history", headers={"Authorization": f"bEARER  {token(alice)}"})
        assert answer.status_code == 200


async def test_a_token_in_the_url_counts_for_nothing(guarded: Service, alice: str) -> None:
    async with Api(guarded.url) as api:
        for name in ("token", "access_token", "authorization", "jwt"):
            answer = await api.http.get("/v1/inbox/history", params={name: token(alice)})
            problem(answer, 401, "unauthenticated")
        answer = await api.http.get("/v1/inbox/history", headers={"Cookie": f"token={token(alice)}"})
        problem(answer, 401, "unauthenticated")


async def test_naming_a_user_counts_for_nothing(guarded: Service, alice: str, bob: str) -> None:
    async with Api(guarded.url, bob) as api:
        problem(await api.http.get("/v1/inbox/history"), 401, "unauthenticated")
        problem(await api.http.get("/v1/inbox/history?user=bob"), 401, "unauthenticated")
    async with Api(guarded.url, bob, token(alice)) as api:
        assert (await api.http.post("/v1/messages?user=bob", json={"to": bob, "body": 1})).json()["from"] == alice


async def test_with_tokens_any_host_may_be_named(guarded: Service, alice: str) -> None:
    async with alices(guarded, alice) as api:
        answer = await api.http.get("/v1/inbox/history", headers={"Host": "chat.example"})
        assert answer.status_code == 200


async def test_the_metrics_are_for_operators(guarded: Service) -> None:
    async with Api(guarded.url, token=token("operator", "ops")) as api:
        assert "inboxd_" in (await api.http.get("/metrics")).text


# The older protocol.


async def create_chat(guarded: Service, sender: str, recipient: str, bearer: str | None) -> tuple[int, int]:
    """The status, and the code in the older service's answer."""
    async with Api(guarded.url, token=bearer) as api:
        content = {"msg": "hi", "sender": sender, "recipient": recipient}
        answer = await api.http.post("/api/chat/create_chat", content=json.dumps(content),
                                     headers={"Content-Type": "application/json"})  # fmt: skip
        assert set(answer.json()) == {"code", "msg", "data"}
        return answer.status_code, answer.json()["code"]


async def test_an_older_sender_sends_for_itself_only(guarded: Service, alice: str, bob: str) -> None:
    assert await create_chat(guarded, alice, bob, None) == (401, 401)
    assert await create_chat(guarded, alice, bob, token(alice)) == (200, 200)
    assert await create_chat(guarded, alice, bob, token(alice, "ops")) == (403, 403)
    assert await create_chat(guarded, "carol", bob, token(alice)) == (403, 403)
    assert await create_chat(guarded, "carol", bob, token(alice, "send:any")) == (200, 200)

"""`GET /v1/conversations`: whom one talks with."""

from scripts.lab.service import Service
from tests.support.api import Api, problem
from tests.support.device import Device


async def test_newest_first_with_the_last_message_and_what_is_unread(
    service: Service, api: Api, bobs: Api, alice: str, bob: str, carol: str
) -> None:
    async with Device(service.url, bob), Api(service.url, carol) as carols:
        await api.fill(bob, 3)
        await carols.send(bob, "hello", "c-1")
        await bobs.send(carol, "hi", "b-1")
        await bobs.http.post("/v1/inbox/read", json={"from": alice, "upto": "m2"})
        first, second = (await bobs.get("/v1/conversations"))["conversations"]
        assert (first["with"], first["unread"], first["read_upto"]) == (carol, 1, None)
        assert (first["last"]["id"], first["last"]["from"], first["last"]["type"]) == ("b-1", bob, "message")
        assert (second["with"], second["unread"], second["read_upto"]) == (alice, 1, "m2")
        assert (second["last"]["body"], second["last"]["cursor"].split("-")[1]) == (3, "3")
        only = (await bobs.get("/v1/conversations", limit=1))["conversations"]
        assert only == [first]


async def test_whoever_has_no_inbox_has_none(bobs: Api) -> None:
    assert await bobs.get("/v1/conversations") == {"conversations": []}


async def test_a_limit_beyond_its_bounds_is_refused(bobs: Api) -> None:
    problem(await bobs.http.get("/v1/conversations", params={"limit": 0}), 422, "invalid_field", "limit")

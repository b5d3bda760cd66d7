"""The JavaScript client and the real service: groups, changes, receipts, reads, presence, blocks; over kills."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.clients.conformance.client import Client
from tests.clients.conformance.test_real_service import PATIENT

Frame = dict[str, Any]


class Person(Client):
    """One of the talk; `seen` is what the application was handed."""

    async def http(self, call: str, *args: Any) -> Any:
        """What a helper resolves with, or the code it rejects with."""
        told = await self.ask("http", call=call, args=list(args))
        return told["code"] if "code" in told else told["result"]

    def seen(self, kind: str, /, **fields: Any) -> list[Frame]:
        return [frame for frame in self.home.log() if frame["type"] == kind and fields.items() <= frame.items()]

    async def sees(self, kind: str, /, **fields: Any) -> Frame:
        """The first such entry."""
        await self.until(lambda: self.seen(kind, **fields), f"a {kind} with {fields}")
        [frame] = self.seen(kind, **fields)
        return frame

    async def told(self, event: str, /, **fields: Any) -> Frame:
        def found() -> Frame | None:
            return next((one for one in self.driver.of(event) if fields.items() <= one.items()), None)

        return await self.until(found, f"{event} with {fields}")


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve(workers=2)


@pytest.fixture
async def people(service: Service, tmp_path: Path, alice: str, bob: str) -> AsyncIterator[tuple[Person, Person]]:
    """Two who are live, in processes of their own."""
    async with AsyncExitStack() as stack:
        found = []
        for user in (alice, bob):
            folder = tmp_path / user.replace(":", "-")
            folder.mkdir()
            person = Person("javascript", folder, service.url, user, **PATIENT)
            stack.push_async_callback(person.close)
            await person.start()
            await person.live()
            found.append(person)
        yield (found[0], found[1])


async def test_a_message_is_received_read_edited_reacted_to_and_deleted(people: tuple[Person, Person]) -> None:
    one, other = people
    await one.do("send", to=other.user, id="m-1", body={"text": "hi"})
    message = await other.sees("message", id="m-1")
    await one.sees("receipt", kind="delivered", target="m-1", by=other.user)
    await other.do("read", message=message)
    await one.sees("receipt", kind="read", target="m-1", by=other.user)
    await other.sees("read", **{"from": one.user}, upto="m-1")
    own = await one.sees("message", id="m-1")
    await one.do("edit", message=own, body={"text": "hello"}, id="e-1")
    await other.do("react", message=message, body={"emoji": "!"}, id="r-1")
    assert (await other.sees("edit", target="m-1"))["body"] == {"text": "hello"}
    assert (await one.sees("react", target="m-1", target_from=one.user))["body"] == {"emoji": "!"}
    await one.do("delete", message=own, id="d-1")
    await other.sees("delete", target="m-1")
    page = await other.ask("history", **{"with": one.user})
    assert [(entry["type"], entry["id"]) for entry in page["entries"]] == [
        *[("delete", "d-1")],
        *sorted((("react", "r-1"), ("edit", "e-1")), key=lambda each: -_place(other, each[1])),
        ("deleted", "m-1"),
    ]
    newest = await other.ask("history", **{"with": one.user}, after=page["entries"][1]["cursor"])
    assert [entry["id"] for entry in newest["entries"]] == ["d-1"]


def _place(person: Person, id: str) -> int:
    return next(n for n, frame in enumerate(person.home.log()) if frame["id"] == id)


async def test_a_group_talks_while_its_members_are_killed(people: tuple[Person, Person]) -> None:
    one, other = people
    group = f"g-{one.user}"
    made = await one.http("putGroup", group, {"members": [other.user], "name": "Team"})
    assert set(made["members"]) == {one.user, other.user}
    await other.sees("group", group=group, event="created", by=one.user)
    for n in range(20):
        await one.do("send_group", group=group, id=f"g-{n}", body=n)
        await other.do("send_group", group=group, id=f"h-{n}", body=n)
        if n == 8:
            await other.outbox_is(lambda items: not items)
            other.driver.kill()
            await other.killed()
            await other.start()
            await other.do("connect")
    await one.outbox_is(lambda items: not items)
    await other.outbox_is(lambda items: not items)
    ids = {f"{sender}-{n}" for sender in "gh" for n in range(20)}
    for person in people:
        await person.until(lambda person=person: ids <= {frame["id"] for frame in person.home.log()}, "all")  # type: ignore[misc]
    orders = [[frame["seq"] for frame in person.seen("message", group=group)] for person in people]
    assert orders[0] == sorted(set(orders[0]))
    assert list(dict.fromkeys(orders[1])) == orders[0], "at most the last before the kill came twice"
    newest = one.seen("message", group=group)[-1]
    await other.do("read", message=newest)
    await other.sees("read", group=group, upto=newest["seq"])

    async def marked() -> bool:
        marks = {mark["user"]: mark for mark in await one.http("marks", group)}
        return bool(marks[other.user]["read"]) and marks[other.user]["read"]["seq"] == newest["seq"]

    await eventually_async(marked, "the mark is seen")
    await other.http("removeMember", group, other.user)
    await one.sees("group", group=group, event="left", user=other.user)
    assert [row["group"] for row in await one.http("groups")] == [group]
    assert await other.http("groups") == []
    assert (await one.http("group", group))["members"] == [one.user]
    await other.do("send_group", group=group, id="late", body=1)
    await other.told("failed", id="late", code="no_such_group")


async def test_what_was_read_without_a_connection_is_known_after_a_kill(people: tuple[Person, Person]) -> None:
    one, other = people
    await one.do("send", to=other.user, id="m-2", body=1)
    message = await other.sees("message", id="m-2")
    await other.do("network", online=False)
    await other.in_state("offline")
    await other.do("read", message=message)
    await other.ask("outbox")  # it is written in order, so this is stored behind the read
    other.driver.kill()
    await other.killed()
    await other.start()
    await other.live()
    await one.sees("receipt", kind="read", target="m-2")
    [talk] = [talk for talk in await other.http("conversations") if talk.get("with") == one.user]
    assert (talk["unread"], talk["read_upto"]) == (0, "m-2")
    fate = await one.http("fate", "m-2", {"to": other.user})
    assert [row["state"] for row in fate["recipients"]] == ["read"]


async def test_who_is_there_what_they_signal_and_who_may_not_write(people: tuple[Person, Person]) -> None:
    one, other = people
    await one.do("watch", users=[other.user])
    await one.told("presence", user=other.user, status="online")
    await other.do("signal", to=one.user, body={"typing": True})
    signal = await one.told("signal", body={"typing": True})
    assert signal["from"] == other.user
    assert [row["status"] for row in await one.http("presence", [other.user])] == ["online"]
    await other.http("block", one.user)
    assert await other.http("blocks") == [one.user]
    await one.do("send", to=other.user, id="m-3", body=1)
    await one.told("failed", id="m-3", code="refused")
    await other.http("unblock", one.user)
    await one.do("retry", id="m-3")
    await other.sees("message", id="m-3")
    await other.do("network", online=False)
    await one.told("presence", user=other.user, status="offline")

"""The senders of a run repeat what is not surely in, with the same ids and in the same order, and hide nothing."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from scripts.chaos.history import Accepted, Frame, History, Refused, Skipped, Tried
from scripts.chaos.senders import Draft, InBatches, OverHttp, OverSocket, UnexpectedError

USERS = ["bob", "carol", "dave"]


def accepted(draft: Frame, duplicate: bool = False) -> Frame:
    to = draft["to"] if isinstance(draft["to"], list) else [draft["to"]]
    recipients = [{"to": user, "cursor": f"1-{draft['body']['n']}"} for user in to]
    return {"id": draft["id"], "duplicate": duplicate, "durability": "fsynced", "recipients": recipients}


def refused(code: str) -> Frame:
    return {"code": code, "status": 503}


class Answers:
    """Plays the service: the n-th request gets the n-th answer; an exception is a broken connection."""

    def __init__(self, *answers: Callable[[Frame], Frame] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Frame] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        asked = json.loads(request.content)
        self.asked.append(asked)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(200, json=answer(asked))


async def play(sender: OverHttp, answers: Answers, drafts: list[Draft]) -> list[Draft]:
    """Tries until there are no more answers; what is still to be sent."""
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answers), base_url="http://chat") as http:
        while answers.answers:
            drafts = await sender._try(http, drafts)
    return drafts


def kinds(history: History) -> list[str]:
    return [type(record).__name__ for record in history.records if isinstance(record, Tried | Accepted | Refused)]


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture
def single(history: History) -> OverHttp:
    return OverHttp("alice", "http://chat", USERS, history, random.Random(1))


@pytest.fixture
def socket(history: History) -> OverSocket:
    return OverSocket("alice", "http://chat", USERS, history, random.Random(1))


async def test_the_same_id_comes_again_until_it_is_accepted(single: OverHttp, history: History) -> None:
    answers = Answers(lambda _: refused("unavailable"), httpx2.ReadTimeout("late"), lambda d: accepted(d, True))
    assert await play(single, answers, single.drafts(1)) == []
    assert [asked["id"] for asked in answers.asked] == ["m1", "m1", "m1"]
    assert kinds(history) == ["Tried", "Refused", "Tried", "Tried", "Accepted"]
    assert single.broken == 1


async def test_a_message_is_done_only_when_every_recipient_has_it(single: OverHttp) -> None:
    def partly(asked: Frame) -> Frame:
        answer = accepted(asked)
        answer["recipients"][1] = {"to": asked["to"][1], "error": "inbox_full"}
        return answer

    draft = Draft("m1", ("bob", "carol"), {"n": 1})
    assert await play(single, Answers(partly), [draft]) == [draft]
    assert await play(single, Answers(accepted), [draft]) == []


async def test_what_failed_of_a_batch_comes_again_in_its_order(history: History) -> None:
    sender = InBatches("alice", "http://chat", USERS, history, random.Random(1))

    def last_two_fail(asked: Frame) -> Frame:
        first, *rest = asked["messages"]
        return {"results": [accepted(first), *(refused("unavailable") for _ in rest)]}

    waiting = await play(sender, Answers(last_two_fail), sender.drafts(3))
    assert [draft.id for draft in waiting] == ["m2", "m3"]


async def test_a_whole_batch_that_was_refused_comes_again(history: History) -> None:
    sender = InBatches("alice", "http://chat", USERS, history, random.Random(1))
    waiting = await play(sender, Answers(lambda _: refused("unavailable")), sender.drafts(3))
    assert [draft.id for draft in waiting] == ["m1", "m2", "m3"]


async def test_an_answer_no_fair_client_should_get_ends_the_run(single: OverHttp) -> None:
    with pytest.raises(UnexpectedError, match="id_reused"):
        await play(single, Answers(lambda _: refused("id_reused")), single.drafts(1))


class Line:
    """A session whose answers are known: code or None (accepted) by id."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.said: list[Frame] = []
        self.answers: dict[str, asyncio.Future[Frame]] = {}
        for message_id, code in answers.items():
            self.answers[message_id] = asyncio.get_running_loop().create_future()
            self.answers[message_id].set_result({"type": "error", "id": message_id, "code": code})

    async def say(self, *frames: Frame) -> None:
        self.said += frames


async def give_up(socket: OverSocket, line: Any, drafts: list[Draft]) -> list[str]:
    return [draft.id for draft in await socket._give_up_one(line, drafts)]


async def test_only_the_first_that_failed_is_ever_given_up(socket: OverSocket, history: History) -> None:
    drafts = socket.drafts(3)
    line = Line({"m1": "unavailable", "m2": "unavailable", "m3": "out_of_order"})
    socket.skips = 0
    assert await give_up(socket, line, drafts) == ["m1", "m2", "m3"]
    socket.skips = 1
    assert await give_up(socket, line, drafts) == ["m2", "m3"]
    assert line.said == [{"type": "skip", "id": "m1"}]
    assert [record.id for record in history.records if isinstance(record, Skipped)] == ["m1"]


async def test_what_was_refused_for_its_order_is_never_given_up(socket: OverSocket) -> None:
    socket.skips = 1
    line = Line({"m1": "out_of_order"})
    assert await give_up(socket, line, socket.drafts(1)) == ["m1"]
    assert line.said == []

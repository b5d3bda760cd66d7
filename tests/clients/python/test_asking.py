"""Questions over HTTP, answered by a server that is written down here."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from inboxd_client import InboxClient, RequestError

Answer = httpx2.Response | Exception


class Service:
    """`asked`: method, path with query, user or token, body. `answers`: what comes next, else `{}`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str | None, Any]] = []
        self.answers: list[Answer] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        who = request.headers.get("X-Inboxd-User") or request.headers.get("Authorization")
        content = json.loads(request.content) if request.content else None
        self.asked.append((request.method, request.url.raw_path.decode(), who, content))
        answer = self.answers.pop(0) if self.answers else httpx2.Response(200, json={})
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def bob(service: Service) -> AsyncIterator[InboxClient]:
    client = InboxClient("ws://inbox.test/base/", user="bob", http_options={"transport": httpx2.MockTransport(service)})
    yield client
    await client.close()


def given(**content: Any) -> httpx2.Response:
    return httpx2.Response(200, json=content)


ASKED: tuple[tuple[Callable[[InboxClient], Any], dict[str, Any], str, Any, Any], ...] = (
    (lambda bob: bob.conversations(), {"conversations": [1]}, "GET /v1/conversations", None, [1]),
    (lambda bob: bob.fate("m-1"), {"id": "m-1"}, "GET /v1/messages/m-1", None, {"id": "m-1"}),
    (lambda bob: bob.fate("m", from_user="a", to="b"), {}, "GET /v1/messages/m?from=a&to=b", None, {}),
    (lambda bob: bob.groups(), {"groups": []}, "GET /v1/groups", None, []),
    (lambda bob: bob.group("a:b"), {"owner": "x"}, "GET /v1/groups/a%3Ab", None, {"owner": "x"}),
    (lambda bob: bob.put_group("g", iter("ab")), {}, "PUT /v1/groups/g", {"members": ["a", "b"]}, None),
    (lambda bob: bob.put_group("g", [], "é"), {}, "PUT /v1/groups/g", {"members": [], "name": "é"}, None),
    (lambda bob: bob.delete_group("g"), {}, "DELETE /v1/groups/g", None, None),
    (lambda bob: bob.add_member("g", "u@x"), {}, "PUT /v1/groups/g/members/u%40x", None, None),
    (lambda bob: bob.remove_member("g", "u"), {}, "DELETE /v1/groups/g/members/u", None, None),
    (lambda bob: bob.marks("g"), {"marks": [2]}, "GET /v1/groups/g/marks", None, [2]),
    (lambda bob: bob.presence(["a", "b+"]), {"presence": []}, "GET /v1/presence?user=a&user=b%2B", None, []),
    (lambda bob: bob.block("u"), {}, "PUT /v1/blocks/u", None, None),
    (lambda bob: bob.unblock("u"), {}, "DELETE /v1/blocks/u", None, None),
    (lambda bob: bob.blocks(), {"blocks": ["u"]}, "GET /v1/blocks", None, ["u"]),
)


@pytest.mark.parametrize(("ask", "answer", "request_line", "content", "result"), ASKED)
async def test_each_question_is_asked_in_the_users_name(
    bob: InboxClient, service: Service, ask: Any, answer: Any, request_line: str, content: Any, result: Any
) -> None:
    service.answers.append(given(**answer))
    assert await ask(bob) == result
    method, path = request_line.split()
    assert service.asked == [(method, "/base" + path, "bob", content)]


async def test_an_answer_without_content_is_fine(bob: InboxClient, service: Service) -> None:
    service.answers.append(httpx2.Response(204))
    await bob.delete_group("g")


@pytest.mark.parametrize(
    ("answer", "code"),
    (
        (httpx2.Response(404, json={"code": "no_such_group", "detail": "none"}), "no_such_group"),
        (httpx2.Response(502, text="<html>"), "http_502"),
        (httpx2.ConnectError("refused"), "unreachable"),
    ),
)
async def test_a_refusal_is_told_by_its_code(bob: InboxClient, service: Service, answer: Answer, code: str) -> None:
    service.answers.append(answer)
    with pytest.raises(RequestError) as caught:
        await bob.group("g")
    assert caught.value.code == code


@pytest.mark.parametrize(("answers", "code"), (([401, 200], None), ([401, 401], "http_401")))
async def test_a_token_that_is_over_is_replaced_once(service: Service, answers: list[int], code: str | None) -> None:
    asked: list[bool] = []

    async def get_token(refresh: bool) -> str:
        asked.append(refresh)
        return f"t{len(asked)}"

    service.answers += [httpx2.Response(status, json={} if status == 200 else None) for status in answers]
    client = InboxClient(
        "http://inbox.test", get_token=get_token, http_options={"transport": httpx2.MockTransport(service)}
    )
    refused = pytest.raises(RequestError, match=code) if code else contextlib.nullcontext()
    with refused:
        await client.block("u")
    await client.close()
    assert asked == [False, True]
    assert [who for _, _, who, _ in service.asked] == ["Bearer t1", "Bearer t2"]

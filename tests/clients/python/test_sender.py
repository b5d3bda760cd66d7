"""Sending over HTTP, against a server whose answers are written down beforehand."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from inboxd_client import (
    Acceptance,
    InboxSender,
    ItemKind,
    Outgoing,
    RequestError,
    SendError,
    Timing,
    Unreachable,
)
from inboxd_client.sender import MOST_IN_A_BATCH

QUICK = Timing(backoff_first=0.001, backoff_most=0.002)

Answer = tuple[int, dict[str, str], Any]
CUT: Answer = (0, {}, None)
BUSY: Answer = (503, {}, {"code": "unavailable"})


class Backend(ThreadingHTTPServer):
    """`answers`: what comes next; afterwards everything is accepted. `CUT`: read, then no answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.answers: list[Answer | Callable[[Any], Answer]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def ids(self) -> list[Any]:
        return [content.get("id") or [one["id"] for one in content["messages"]] for _, _, content in self.asked]


class Handler(BaseHTTPRequestHandler):
    server: Backend

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
        headers = {name.title(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, headers, content))
        answer = self.server.answers.pop(0) if self.server.answers else accept
        status, headers, body = answer(content) if callable(answer) else answer
        if not status:
            self.close_connection = True
            return
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def accepted(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "from": "shop", "ts": 1, "duplicate": False, "durability": "fsynced", "recipients": [], **more}


def accept(content: Any) -> Answer:
    if content is None or "members" in content:
        return 204, {}, b""
    if "messages" in content:
        return 200, {}, {"results": [accepted(one["id"], status=202) for one in content["messages"]]}
    return 202, {}, accepted(content["id"])


def results(*codes: str) -> Callable[[Any], Answer]:
    """Of a batch: `ok`, or the code of a problem."""

    def answer(content: Any) -> Answer:
        pairs = zip(content["messages"], codes, strict=True)
        return (
            200,
            {},
            {
                "results": [
                    accepted(one["id"], status=202) if code == "ok" else {"code": code, "status": 400, "detail": ""}
                    for one, code in pairs
                ]
            },
        )

    return answer


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as backend:
        thread = threading.Thread(target=backend.serve_forever, args=(0.01,))
        thread.start()
        yield backend
        backend.shutdown()
        thread.join()


@pytest.fixture
def sender(backend: Backend) -> Iterator[InboxSender]:
    with InboxSender(backend.url, user="shop", timing=QUICK) as sender:
        yield sender


def test_one_id_is_kept_over_all_tries(backend: Backend, sender: InboxSender) -> None:
    backend.answers = [CUT, (500, {}, b"<html>"), (429, {}, {"code": "rate_limited"}), BUSY, (502, {}, b"")]
    found = sender.send("alice", {"t": "é"})
    assert backend.ids() == [found.id] * 6
    assert backend.asked[0][0] == "/v1/messages"
    assert backend.asked[0][2] == {"id": found.id, "to": "alice", "body": {"t": "é"}}


def test_the_service_says_how_long_to_wait(
    backend: Backend, sender: InboxSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    backend.answers = [(503, {"Retry-After": "7"}, {"code": "unavailable"}), BUSY]
    sender.send("alice", 1)
    assert 7 <= waits[0] <= 7 * 1.2  # those who were told the same do not come at once
    assert waits[1] < 1


def test_a_wait_beyond_the_deadline_is_not_begun(backend: Backend, sender: InboxSender) -> None:
    backend.answers = [BUSY, (429, {"Retry-After": "3600"}, {"code": "rate_limited"})]
    with pytest.raises(Unreachable) as caught:
        sender.send("alice", 1, "m-1", deadline=60)
    assert (caught.value.id, caught.value.tries, caught.value.reason) == ("m-1", 2, "HTTP 429 rate_limited")


def test_nobody_there_is_told_after_the_deadline(backend: Backend) -> None:
    with InboxSender("http://127.0.0.1:1", user="shop", deadline=0.05, timing=QUICK) as sender:
        with pytest.raises(Unreachable) as caught:
            sender.send("alice", 1)
        assert caught.value.tries > 1
        (result,) = sender.send_batch([Outgoing("alice", 1, "m-1")])
        assert isinstance(result, Unreachable)
        assert result.id == "m-1"


@pytest.mark.parametrize(
    ("status", "code"), ((401, "unauthenticated"), (403, "refused"), (413, "too_large"), (422, "id_reused"),
                         (507, "inbox_full"))
)  # fmt: skip
def test_a_refusal_for_good_is_raised_at_once(status: int, code: str, backend: Backend, sender: InboxSender) -> None:
    backend.answers = [(status, {}, {"code": code, "detail": "why"})]
    with pytest.raises(SendError) as caught:
        sender.send("alice", 1, "m-1")
    assert (caught.value.code, caught.value.message, caught.value.id) == (code, "why", "m-1")
    assert len(backend.asked) == 1


def test_an_answer_of_somebody_else_is_no_acceptance(backend: Backend, sender: InboxSender) -> None:
    backend.answers = [(302, {"Location": "/elsewhere"}, b"")]
    with pytest.raises(SendError, match="http_302"):
        sender.send("alice", 1)


def test_what_cannot_be_sent_asks_nobody(backend: Backend, sender: InboxSender) -> None:
    for to, body, id in (("alice", {1}, None), ("", 1, None), (["a", "a"], 1, None), ("alice", 1, "two words")):
        with pytest.raises(SendError, match="invalid_field"):
            sender.send(to, body, id)
    assert backend.asked == []


def test_a_token_is_asked_for_before_each_request(backend: Backend) -> None:
    tokens = iter("abc")
    backend.answers = [BUSY]
    with InboxSender(f"{backend.url}/base/", token=lambda: next(tokens), sender="shop", timing=QUICK) as sender:
        sender.send("alice", 1, expires_in=5)
    assert [headers["Authorization"] for _, headers, _ in backend.asked] == ["Bearer a", "Bearer b"]
    assert backend.asked[0][0] == "/base/v1/messages"
    assert (backend.asked[0][2]["from"], backend.asked[0][2]["expires_in"]) == ("shop", 5)


def test_those_of_a_batch_that_are_not_in_go_again_alone_in_order(backend: Backend, sender: InboxSender) -> None:
    backend.answers = [
        BUSY,
        results("ok", "id_reused", "unavailable", "unavailable"),
        CUT,
        results("ok", "unavailable"),
    ]
    found = sender.send_batch([Outgoing("alice", n, f"m-{n}") for n in range(4)])
    assert backend.ids() == [["m-0", "m-1", "m-2", "m-3"]] * 2 + [["m-2", "m-3"]] * 2 + [["m-3"]]
    assert [type(one) for one in found] == [Acceptance, SendError, Acceptance, Acceptance]
    assert [one.id for one in found] == ["m-0", "m-1", "m-2", "m-3"]


def test_a_message_at_fault_spoils_no_batch(backend: Backend, sender: InboxSender) -> None:
    first, second = sender.send_batch([Outgoing("alice", {1}), Outgoing("alice", 1)])
    assert isinstance(first, SendError)
    assert isinstance(second, Acceptance)


def test_a_refused_batch_is_told_for_each(backend: Backend, sender: InboxSender) -> None:
    backend.answers = [(401, {}, {"code": "unauthenticated"})]
    found = sender.send_batch([Outgoing("alice", n, f"m-{n}") for n in range(2)])
    assert [(type(one), one.id) for one in found] == [(SendError, "m-0"), (SendError, "m-1")]


def test_many_messages_go_out_a_thousand_or_a_few_megabytes_at_a_time(backend: Backend, sender: InboxSender) -> None:
    assert len(sender.send_batch([Outgoing("alice", n) for n in range(MOST_IN_A_BATCH + 1)])) == MOST_IN_A_BATCH + 1
    assert [len(ids) for ids in backend.ids()] == [MOST_IN_A_BATCH, 1]
    backend.asked.clear()
    sender.send_batch([Outgoing("alice", "x" * 1_500_000) for _ in range(4)])
    assert [len(ids) for ids in backend.ids()] == [2, 2]


def test_an_empty_batch_asks_nobody(backend: Backend, sender: InboxSender) -> None:
    assert sender.send_batch([]) == []
    assert backend.asked == []


def test_groups_and_changes_say_what_the_service_wants(backend: Backend, sender: InboxSender) -> None:
    sender.send_to_group("team", 1, "a", receipts=False)
    sender.edit("a", 2, group="team", id="b")
    sender.delete("c", to=("alice", "bob"), id="d", sender="robot")
    sender.send_batch([Outgoing("alice", 3, "e", kind=ItemKind.REACT, target="f", target_from="alice")])
    said = [content for _, _, content in backend.asked]
    assert said == [
        {"id": "a", "body": 1, "group": "team", "receipts": False},
        {"id": "b", "body": 2, "group": "team", "type": "edit", "target": "a"},
        {"id": "d", "to": ["alice", "bob"], "type": "delete", "target": "c", "from": "robot"},
        {"messages": [
            {"id": "e", "body": 3, "to": "alice", "type": "react", "target": "f", "target_from": "alice"}
        ]},
    ]  # fmt: skip


def test_questions_are_asked_again_until_they_are_answered(backend: Backend, sender: InboxSender) -> None:
    backend.answers = [
        CUT,
        BUSY,
        (200, {}, {"owner": "alice"}),
        (200, {}, {"marks": [{"user": "a"}]}),
        (200, {}, {"presence": []}),
    ]
    assert sender.group("team")["owner"] == "alice"
    assert sender.marks("team")[0]["user"] == "a"
    assert sender.presence(["a", "b"]) == []
    sender.put_group("team", ["alice"], "The team")
    sender.add_member("team", "bob")
    sender.remove_member("team", "bob")
    sender.delete_group("team")
    backend.answers = [(200, {}, {"id": "m"}), (404, {}, {"code": "no_such_message"})]
    assert sender.fate("m", sender="shop", to="bob")["id"] == "m"
    with pytest.raises(RequestError, match="no_such_message"):
        sender.fate("n")
    assert [path for path, _, _ in backend.asked] == [
        *["/v1/groups/team"] * 3, "/v1/groups/team/marks", "/v1/presence?user=a&user=b", "/v1/groups/team",
        *["/v1/groups/team/members/bob"] * 2, "/v1/groups/team", "/v1/messages/m?from=shop&to=bob", "/v1/messages/n",
    ]  # fmt: skip


def test_a_question_to_nobody_ends_at_the_deadline(backend: Backend) -> None:
    backend.answers = [BUSY] * 100
    with InboxSender(backend.url, user="shop", timing=QUICK, deadline=0.05) as sender, pytest.raises(Unreachable):
        sender.group("team")

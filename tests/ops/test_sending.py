import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from scripts.lab.ports import free_port
from scripts.lab.timing import UNIT
from service.ops.sending import FIRST_WAIT, Answer, send

ALICE = {"X-Inboxd-User": "alice"}
MESSAGE = {"id": "m-1", "to": "bob", "body": {"text": "hi"}}
ACCEPTED = {
    "id": "m-1",
    "duplicate": False,
    "durability": "fsynced",
    "recipients": [{"to": "bob", "cursor": "5-1"}],
}


class Service(BaseHTTPRequestHandler):
    """Gives the answers it was told to, in turn, the last one for ever: (status, headers, body)."""

    answers: ClassVar[list[tuple[int, dict[str, str], Any]]] = []
    requests: ClassVar[list[tuple[str, str | None, Any]]] = []

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append((self.path, self.headers["X-Inboxd-User"] or self.headers["Authorization"], sent))
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    Service.answers, Service.requests = [], []
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_message_is_posted_as_its_sender(service: str) -> None:
    Service.answers = [(202, {}, ACCEPTED)]
    answer = send(service, ALICE, MESSAGE, 1)
    assert answer == Answer("m-1", 202, ACCEPTED)
    assert answer.accepted
    assert Service.requests == [("/v1/messages", "alice", MESSAGE)]


def test_a_token_goes_along_with_every_try(service: str) -> None:
    Service.answers = [(503, {}, {}), (202, {}, ACCEPTED)]
    assert send(service, {"Authorization": "Bearer x"}, MESSAGE, 30, lambda _: None).accepted
    assert [who for _, who, _ in Service.requests] == ["Bearer x"] * 2


def test_unavailable_is_tried_again_with_the_same_id(service: str) -> None:
    waits: list[float] = []
    Service.answers = [(503, {"Retry-After": "2"}, {}), (503, {}, {}), (200, {}, ACCEPTED)]
    answer = send(service, ALICE, MESSAGE, 30, waits.append)
    assert answer.status == 200
    assert [sent["id"] for _, _, sent in Service.requests] == ["m-1"] * 3
    assert waits[0] == 2
    assert 0 < waits[1] <= FIRST_WAIT * 2


def test_patience_ends_with_an_unknown_outcome(service: str) -> None:
    Service.answers = [(503, {}, {"code": "unavailable"})]
    answer = send(service, ALICE, MESSAGE, 0)
    assert answer.unknown
    assert not answer.accepted
    assert len(Service.requests) == 1


def test_a_refusal_is_final(service: str) -> None:
    Service.answers = [(507, {}, {"code": "inbox_full"})]
    answer = send(service, ALICE, MESSAGE, 30)
    assert (answer.unknown, answer.accepted) == (False, False)
    assert len(Service.requests) == 1


def test_one_refused_recipient_of_several_is_no_full_acceptance(service: str) -> None:
    rows = [{"to": "bob", "cursor": "5-1"}, {"to": "carol", "error": "inbox_full"}]
    Service.answers = [(202, {}, ACCEPTED | {"recipients": rows})]
    assert not send(service, ALICE, MESSAGE, 1).accepted


def test_nobody_listening_is_tried_again_and_then_unknown() -> None:
    waits: list[float] = []
    # It does not sleep: what counts is that it was tried again, for as long as it may, and said to be unknown.
    answer = send(f"http://127.0.0.1:{free_port()}", ALICE, MESSAGE, 2 * UNIT, waits.append)
    assert waits
    assert answer.status is None
    assert answer.unknown
    assert "127.0.0.1" in answer.body["detail"]


@pytest.mark.parametrize("text", (b"<html>", b"[]", b"\xff"))
def test_an_answer_that_is_no_problem_document_is_shown_as_it_is(service: str, text: bytes) -> None:
    Service.answers = [(404, {}, text)]
    assert send(service, ALICE, MESSAGE, 1).body["detail"]

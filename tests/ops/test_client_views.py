import json
from collections.abc import Mapping
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from service.ops import client_views, sending, tailing
from service.ops.views import register

APP = typer.Typer()
register(APP)

ACCEPTED = {
    "id": "m-1",
    "duplicate": False,
    "durability": "fsynced",
    "recipients": [{"to": "bob", "cursor": "5-1"}],
}


class Sender:
    """Stands in for `sending.send`: keeps what was sent, gives one answer."""

    def __init__(self, status: int | None, body: dict[str, Any]) -> None:
        self.status, self.body = status, body
        self.base, self.user = "", ""
        self.headers: Mapping[str, str] = {}
        self.message: dict[str, Any] = {}

    def __call__(
        self, base: str, headers: Mapping[str, str], message: dict[str, Any], patience: float
    ) -> sending.Answer:
        self.base, self.headers, self.message = base, headers, message
        self.user = headers.get("X-Inboxd-User", "")
        return sending.Answer(message["id"], self.status, self.body)


def send(monkeypatch: pytest.MonkeyPatch, sender: Sender, *words: str, stdin: str | None = None) -> Result:
    monkeypatch.setattr(sending, "send", sender)
    return CliRunner().invoke(APP, ("send", "--from", "alice", *words), input=stdin)


def test_a_text_is_sent_and_the_answer_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Sender(202, ACCEPTED)
    result = send(monkeypatch, sender, "bob", "hi", "--id", "m-1", "--expires-in", "60", "--url", "http://h:1/")
    assert (result.exit_code, result.stdout) == (0, "m-1  bob: accepted at 5-1, fsynced\n")
    assert (sender.base, sender.user) == ("http://h:1", "alice")
    assert sender.message == {"id": "m-1", "to": "bob", "body": {"text": "hi"}, "expires_in": 60}


@pytest.mark.parametrize("by", ("option", "environment"))
def test_a_token_says_who_sends_and_another_sender_stands_in_the_message(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    sender = Sender(202, ACCEPTED)
    monkeypatch.setattr(sending, "send", sender)
    words = ("send", "bob", "hi") + (("--token", "t.o.k") if by == "option" else ())
    given = {"INBOXD_TOKEN": "t.o.k"} if by == "environment" else {}
    result = CliRunner().invoke(APP, words, env=given)
    assert sender.headers == {"Authorization": "Bearer t.o.k"}
    assert "from" not in sender.message
    CliRunner().invoke(APP, (*words, "--from", "carol"), env=given)
    assert sender.message["from"] == "carol"
    assert "t.o.k" not in result.output


def test_a_token_of_the_environment_is_not_shown_by_help(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("send", "tail"):
        shown = CliRunner().invoke(APP, (name, "--help"), env={"INBOXD_TOKEN": "t.o.k"}).output
        assert "--token" in shown
        assert "t.o.k" not in shown


def test_nobody_who_sends_is_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INBOXD_TOKEN", raising=False)
    monkeypatch.setattr(sending, "send", Sender(202, ACCEPTED))
    result = CliRunner().invoke(APP, ("send", "bob", "hi"))
    assert result.exit_code == 2
    assert "who sends?" in result.stderr


def test_several_recipients_json_bodies_and_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Sender(202, ACCEPTED)
    send(monkeypatch, sender, "bob,carol", "-", "--body", stdin='[1, {"a": null}]')
    assert sender.message["to"] == ["bob", "carol"]
    assert sender.message["body"] == [1, {"a": None}]
    send(monkeypatch, sender, "bob", "-", stdin="a line\n")
    assert sender.message["body"] == {"text": "a line"}


def test_every_message_has_an_id_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Sender(202, ACCEPTED)
    send(monkeypatch, sender, "bob", "hi")
    first = sender.message["id"]
    send(monkeypatch, sender, "bob", "hi")
    assert first != sender.message["id"]


def test_a_repeat_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    result = send(monkeypatch, Sender(200, ACCEPTED | {"duplicate": True}), "bob", "hi", "--id", "m-1")
    assert (result.exit_code, result.stdout) == (0, "m-1  bob: accepted before at 5-1, fsynced\n")


def test_one_refused_recipient_is_bad_news(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"to": "bob", "cursor": "5-1"}, {"to": "carol", "error": "inbox_full"}]
    result = send(monkeypatch, Sender(202, ACCEPTED | {"recipients": rows}), "bob,carol", "hi")
    assert result.exit_code == 1
    assert "carol: refused, inbox_full" in result.stdout


def test_a_problem_is_bad_news_with_its_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = {"code": "invalid_field", "detail": "to: \x1b[2J is no name"}
    result = send(monkeypatch, Sender(422, problem), "bob", "hi")
    assert result.exit_code == 1
    assert "refused: invalid_field: to: \\u001b[2J is no name" in result.stderr


@pytest.mark.parametrize("status", (None, 503))
def test_an_unknown_outcome_says_how_to_repeat_it(monkeypatch: pytest.MonkeyPatch, status: int | None) -> None:
    result = send(monkeypatch, Sender(status, {"detail": "away"}), "bob", "hi", "--id", "m-1")
    assert result.exit_code == 3
    assert "away" in result.stderr
    assert "--id m-1 is safe to repeat" in result.stderr


@pytest.mark.parametrize(("status", "code"), ((202, 0), (422, 1), (None, 3)))
def test_json_is_the_answer_with_status_and_id(monkeypatch: pytest.MonkeyPatch, status: int | None, code: int) -> None:
    result = send(monkeypatch, Sender(status, {"detail": "x"}), "bob", "hi", "--id", "m-1", "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout) == {"id": "m-1", "status": status, "detail": "x"}


def test_a_body_that_is_no_json_is_wrong_use(monkeypatch: pytest.MonkeyPatch) -> None:
    result = send(monkeypatch, Sender(202, ACCEPTED), "bob", "{", "--body")
    assert result.exit_code == 2
    assert "the body is not JSON" in result.stderr


def tail(monkeypatch: pytest.MonkeyPatch, *words: str, wanted: bool = True) -> tuple[Result, tailing.Tail, str]:
    met: list[tuple[tailing.Tail, str]] = []

    async def follow(tail: tailing.Tail, url: str) -> bool:
        met.append((tail, url))
        return wanted

    monkeypatch.setattr(client_views, "follow", follow)
    result = CliRunner().invoke(APP, ("tail", *words))
    return result, *met[0]


def test_tail_is_a_device_of_its_own_that_keeps_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    result, follower, url = tail(monkeypatch, "bob")
    assert result.exit_code == 0
    assert (follower.user, follower.device, follower.acking, follower.cursor) == ("bob", "tail", True, None)
    assert follower.attempt is not None
    assert url == "ws://127.0.0.1:8000/v1/ws"


def test_tail_takes_a_token_along_and_hides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _, follower, _ = tail(monkeypatch, "bob", "--token", "t.o.k")
    assert follower.hello()["token"] == "t.o.k"
    assert "t.o.k" not in repr(follower)


def test_tail_of_a_borrowed_device_leaves_its_attempts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _, follower, _ = tail(monkeypatch, "bob", "--device", "phone", "--from-cursor", "5-1", "--no-ack", "-n", "3")
    assert (follower.device, follower.attempt) == ("phone", None)
    assert (follower.cursor, follower.acking, follower.left) == ("5-1", False, 3)


def test_a_connection_closed_for_good_is_bad_news(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _, _ = tail(monkeypatch, "bob", wanted=False)
    assert result.exit_code == 1

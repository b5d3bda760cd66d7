"""The teller: oneself hears at once and whole, other workers by a hint that carries no more than it should."""

from collections.abc import Sequence

import pytest

from service.core.cursor import Cursor
from service.core.entries import Fields
from service.core.sending import Appended, AppendStatus
from service.delivery import teller as module
from service.delivery.announcer import Announcer, Row
from service.delivery.hub import Hub
from service.delivery.teller import Teller
from service.store.worker_stream import Hint
from tests.delivery.rig import a_message

FIRST, SECOND = Cursor(5, 1), Cursor(6, 2)
FIELDS: Fields = ["kind", "read", "id", "read:m1", "from", "alice", "upto", "m1"]


class Heard(Hub):
    """This worker's own."""

    def __init__(self) -> None:
        super().__init__()
        self.hints: list[Hint] = []

    def on_hint(self, hint: Hint) -> None:
        self.hints.append(hint)


class Announced(Announcer):
    """What other workers would be told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[Hint], list[Row]]] = []

    def add(self, worker: str, hint: Hint, rows: list[Row]) -> None:
        self.told.append((worker, [hint], rows))

    def add_shared(self, worker: str, hints: Sequence[Hint], rows: Sequence[Row]) -> None:
        self.told.append((worker, list(hints), list(rows)))


class Own:
    id = "w-1"


def appended(*rows: tuple[str, str]) -> Appended:
    return Appended(AppendStatus.APPENDED, SECOND, FIRST, rows)


@pytest.fixture
def hub() -> Heard:
    return Heard()


@pytest.fixture
def announcer() -> Announced:
    return Announced()


@pytest.fixture
def teller(hub: Heard, announcer: Announced) -> Teller:
    return Teller(Own(), hub, announcer)


def test_each_worker_hears_once_with_the_claims_that_led_there(
    teller: Teller, hub: Heard, announcer: Announced
) -> None:
    message = a_message("m1")
    rows = (("phone", "w-1/s-1/0"), ("laptop", "w-2/s-2/0"), ("web", "w-2/s-3/0"))
    teller.message(message, ("bob",), (appended(*rows),))
    hint = Hint("bob", FIRST, SECOND, message.tail("bob"))
    assert hub.hints == [hint]
    assert announcer.told == [("w-2", [hint], [("bob", "laptop", "w-2/s-2/0"), ("bob", "web", "w-2/s-3/0")])]


def test_what_was_not_appended_or_finds_nobody_is_told_to_nobody(
    teller: Teller, hub: Heard, announcer: Announced
) -> None:
    repeated = Appended(AppendStatus.DUPLICATE, SECOND)
    teller.message(a_message("m1", ("bob", "carol")), ("bob", "carol"), (repeated, appended()))
    teller.note("bob", FIELDS, appended())
    assert (hub.hints, announcer.told) == ([], [])


def test_a_large_entry_is_announced_by_its_cursor_and_whole_at_home(
    teller: Teller, hub: Heard, announcer: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CARRIED", 10)
    here_and_there = appended(("phone", "w-1/s-1/0"), ("laptop", "w-2/s-2/0"))
    teller.note("bob", FIELDS, here_and_there)
    teller.group(FIELDS, [("bob", here_and_there)])
    assert [hint.tail is None for hint in hub.hints] == [False, False]
    assert [hint.tail for _, hints, _ in announcer.told for hint in hints] == [None, None]


def test_an_entry_of_many_inboxes_is_told_once_to_each_worker(teller: Teller, hub: Heard, announcer: Announced) -> None:
    rows = [(user, appended(("phone", f"w-{number % 3}/s-{user}/0"))) for number, user in enumerate("abcdef")]
    teller.group(FIELDS, rows)
    assert [hint.user for hint in hub.hints] == ["b", "e"]
    assert [(worker, [hint.user for hint in hints]) for worker, hints, _ in announcer.told] == [
        ("w-0", ["a", "d"]),
        ("w-2", ["c", "f"]),
    ]
    assert announcer.told[0][2] == [("a", "phone", "w-0/s-a/0"), ("d", "phone", "w-0/s-d/0")]

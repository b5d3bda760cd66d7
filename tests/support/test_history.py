"""The checker of histories finds every violation planted into a run, and none where there is none."""

from collections.abc import Callable

import pytest

from tests.support.history import Frame, History

BOB = ("bob", "phone")


def message(number: int, message_id: str | None = None, sender: str = "alice") -> Frame:
    return {
        "cursor": f"{1000 + number}-{number}",
        "from": sender,
        "id": message_id or f"m{number}",
        "body": number,
    }


def run(numbers: list[int]) -> History:
    """Alice sent so many messages to Bob; his phone was given these, in this order."""
    history = History()
    for number in range(1, 6):
        history.attempted("alice", f"m{number}", number)
        history.accepted("alice", f"m{number}", "bob", f"{1000 + number}-{number}")
    for number in numbers:
        history.delivered(*BOB, message(number))
    return history


def kinds(history: History) -> set[str]:
    return {line.partition(":")[0] for line in history.violations(BOB)}


def test_a_perfect_run_has_no_violation() -> None:
    assert run([1, 2, 3, 4, 5]).violations(BOB) == []


def test_repeats_are_counted_and_no_violation() -> None:
    history = run([1, 2, 3, 2, 3, 4, 5])
    assert history.violations(BOB) == []
    assert history.repeats(BOB) == 2


def test_a_message_that_never_came_is_lost() -> None:
    history = run([1, 2, 3, 4])
    assert kinds(history) == {"lost"}
    assert history.missing(BOB) == 1


def test_nothing_is_called_lost_for_a_device_that_is_still_reading() -> None:
    assert run([1, 2, 3, 4]).violations() == []


def test_a_hole_in_the_middle_is_a_hole_and_lost() -> None:
    assert kinds(run([1, 2, 4, 5])) == {"lost", "hole"}


def test_a_hole_that_a_gap_tells_is_neither() -> None:
    history = run([1, 2, 4, 5])
    history.gap(*BOB, {"after": "1002-2", "cursor": "1003-3"})
    assert history.violations(BOB) == []


def test_a_hole_that_a_gap_tells_in_part_is_still_a_hole() -> None:
    history = run([1, 5])
    history.gap(*BOB, {"after": "1001-1", "cursor": "1003-3"})
    assert kinds(history) == {"lost", "hole"}


def test_cursors_that_go_back_for_a_first_delivery_are_reordered() -> None:
    assert kinds(run([1, 3, 2, 4, 5])) == {"reordered"}


def planted_double_entry(history: History) -> None:
    history.delivered(*BOB, {"cursor": "1006-6", "from": "alice", "id": "m5", "body": 5})


def planted_double_acceptance(history: History) -> None:
    history.accepted("alice", "m5", "bob", "1009-9")


def planted_unknown_message(history: History) -> None:
    history.attempted("mallory", "x", 1)
    history.delivered(*BOB, message(6, "y", "mallory"))


def planted_other_body(history: History) -> None:
    history.attempted("alice", "m6", "was sent")
    history.delivered(*BOB, message(6))


def planted_two_at_one_cursor(history: History) -> None:
    history.attempted("alice", "m6", 5)
    history.delivered(*BOB, message(5, "m6"))


def planted_other_cursor(history: History) -> None:
    history.attempted("alice", "m6", 6)
    history.accepted("alice", "m6", "bob", "1016-6")
    history.delivered(*BOB, message(6))


def planted_senders_order(history: History) -> None:
    for message_id in ("a", "b"):
        history.attempted("carol", message_id, 6 if message_id == "b" else 7)
    history.delivered(*BOB, message(6, "b", "carol"))
    history.delivered(*BOB, message(7, "a", "carol"))


@pytest.mark.parametrize(
    ("plant", "kind"),
    (
        (planted_double_entry, "doubled"),
        (planted_double_acceptance, "doubled"),
        (planted_unknown_message, "phantom"),
        (planted_other_body, "phantom"),
        (planted_two_at_one_cursor, "phantom"),
        (planted_other_cursor, "moved"),
        (planted_senders_order, "reordered"),
    ),
)
def test_a_planted_violation_is_found(plant: Callable[[History], None], kind: str) -> None:
    history = run([1, 2, 3, 4, 5])
    plant(history)
    assert kind in kinds(history)

"""The laws, without a server: what is off, what is explained, what may be."""

from dataclasses import replace
from typing import Any

import pytest

from service.core.cursor import START, Cursor
from service.ops.audit_laws import (
    Asked,
    Entries,
    Stream,
    User,
    Worker,
    dropped,
    gone,
    judge_user,
    judge_worker,
    missing,
)
from service.store.keys import Keys

KEYS = Keys("chat:")
ASKED = Asked(KEYS, max_pending=100, retention=60, device_expiry=60, dead_after=10)
NOW = 1_000_000
STREAM = Stream(3, Cursor(900_000, 8), Cursor(900_000, 10), Cursor(900_000, 10), START, 10)
STATE = {"last": "900000-10", "best": "900000-9", "floor": "900000-9", "trimmed": "7", "devices": "1", "judged": "1"}
BOB = User(
    name="bob",
    now_ms=NOW,
    state=STATE,
    stream=STREAM,
    cursors={"phone": "900000-9"},
    devices={"phone": str(NOW - 1000)},
    presence={},
    enlisted={},
    lives={},
)


def found(user: User, **counters: str) -> list[tuple[str, str]]:
    return [(one.law, one.level) for one in judge_user(user, counters, ASKED)]


def with_state(**changed: str) -> User:
    return replace(BOB, state={**STATE, **changed})


def test_what_adds_up_is_clean() -> None:
    assert found(BOB) == []
    assert (dropped(BOB), gone(STREAM), missing(STREAM)) == (0, 7, 0)


# Conservation.


def test_entries_may_be_gone_up_to_what_was_trimmed_acked_or_dropped_and_no_further() -> None:
    assert found(with_state(trimmed="6", floor="900000-7")) == []
    assert found(with_state(trimmed="6", floor="900000-6")) == [("conservation", "off")]
    later = replace(BOB, stream=replace(STREAM, added=3), state={**STATE, "trimmed": "0", "floor": "0-0"})
    assert found(later) == [], "seven went with the stream before this one"
    assert dropped(later) == 7


def test_a_hole_is_explained_by_what_was_deleted_behind_it_only() -> None:
    holed = replace(STREAM, length=2)
    entries = Entries(holes=[(Cursor(900_000, 8), Cursor(900_000, 10))])
    assert found(replace(BOB, stream=holed, entries=entries)) == [("conservation", "off")]
    by_hand = replace(holed, deleted=Cursor(900_000, 9))
    assert found(replace(BOB, stream=by_hand, entries=entries)) == [("deleted", "note")]
    assert missing(holed) == 1


def test_what_its_sender_has_deleted_is_explained_and_only_that() -> None:
    holed = replace(STREAM, length=2, deleted=Cursor(900_000, 9))
    entries = Entries(holes=[(Cursor(900_000, 8), Cursor(900_000, 10))])
    assert found(replace(BOB, stream=holed, entries=entries, erased={9})) == []
    assert found(replace(BOB, stream=holed, entries=entries, erased={3})) == [("deleted", "note")]
    longer = replace(STREAM, first=Cursor(900_000, 4), length=3, deleted=Cursor(900_000, 9))
    entries = Entries(holes=[(Cursor(900_000, 4), Cursor(900_000, 10))])
    bob = replace(BOB, stream=longer, entries=entries, erased={6, 9})
    told = [one.found for one in judge_user(bob, {}, ASKED)]
    assert told == [
        "entry 5 is missing: neither trimmed nor deleted",
        "entries 7 to 8 are missing: neither trimmed nor deleted",
    ], "that a sender has deleted 9 hides nothing"


def test_what_was_deleted_at_the_ends_is_explained() -> None:
    """An own copy may be erased where no deletion is appended; and what nobody has acked yet, at the front."""
    shorter = replace(STREAM, length=2, last=Cursor(900_000, 9), deleted=Cursor(900_000, 10))
    assert found(replace(BOB, stream=shorter, erased={10})) == []
    early = {"trimmed": "0", "floor": "0-0"}
    assert found(replace(with_state(**early), erased=set(range(1, 8)))) == []
    assert found(replace(with_state(**early), erased=set(range(2, 8)))) == [("conservation", "off")]


def test_a_row_that_says_of_no_message_that_it_was_deleted_is_told() -> None:
    assert found(replace(BOB, unreadable=["x"])) == [("erased", "off")]


def test_the_newest_entry_is_there_unless_it_was_deleted_by_hand() -> None:
    shorter = replace(STREAM, length=2, last=Cursor(900_000, 9))
    assert found(replace(BOB, stream=shorter)) == [("newest", "off")]
    assert found(replace(BOB, stream=replace(shorter, deleted=Cursor(900_000, 10)))) == [("deleted", "note")]


def test_no_more_entries_are_added_than_numbers_given_out() -> None:
    assert found(replace(BOB, stream=replace(STREAM, added=11))) == [("conservation", "off")]


def test_an_inbox_may_be_gone_once_its_retention_is_over() -> None:
    assert found(replace(BOB, stream=None)) == []
    assert found(replace(BOB, stream=None, now_ms=950_000, devices={})) == [("conservation", "off")]


# Cursors.


@pytest.mark.parametrize("name", ("best", "floor", "receipted"))
def test_nothing_that_the_state_names_lies_beyond_the_newest_entry(name: str) -> None:
    beyond = found(replace(BOB, state={**STATE, name: "900000-11"}))
    assert ("beyond last", "off") in beyond


def test_devices_without_a_say_are_not_held_against_floor_and_best() -> None:
    low = replace(BOB, cursors={**BOB.cursors, "laptop": "900000-1"}, devices={**BOB.devices, "laptop": str(NOW)})
    assert found(low) == [("floor", "off")]
    silent = replace(low, devices={**BOB.devices, "laptop": str(NOW - 60_001)})
    assert found(silent) == []
    assert found(replace(low, devices=BOB.devices)) == []
    far = [one.law for one in judge_user(low, {}, replace(ASKED, max_pending=8))]
    assert far == [], "nine behind"


def test_one_that_has_just_come_back_is_judged_with_the_next_ack() -> None:
    state = {name: value for name, value in STATE.items() if name != "judged"}
    low = replace(BOB, state=state, cursors={"laptop": "900000-1"}, devices={"laptop": str(NOW)})
    assert found(low) == []


def test_too_many_counted_devices_are_a_note() -> None:
    assert found(with_state(devices="2")) == [("devices", "note")]
    assert found(replace(with_state(devices="2"), cursors={})) == [], "all rows have expired"


# Workers.


@pytest.mark.parametrize(
    ("worker", "laws"),
    (
        (Worker("w", "7", 100, frozenset({"worker", "about"})), []),
        (Worker("w", "7", 20_001, frozenset({"worker", "about"})), [("silent", "off")]),
        (Worker("w", "7", None, frozenset({"worker"})), [("silent", "off")]),
        (Worker("w", "7", 100, frozenset({"about"})), [("deaf", "off")]),
        (Worker("w", None, None, frozenset({"claims", "worker"})), [("no worker", "off")] * 2),
        (Worker("w", "dead", None, frozenset({"claims"})), [("dead worker", "note")]),
    ),
)
def test_a_worker_that_lives_beats_and_hears_and_of_others_nothing_is_left(worker: Worker, laws: Any) -> None:
    assert [(one.law, one.level) for one in judge_worker(worker, ASKED)] == laws


def test_a_claim_names_a_worker_that_lives_and_knows_of_it() -> None:
    online = replace(with_state(online="1"), presence={"phone": "w/s-1/0"}, enlisted={"phone": True})
    assert found(online, w="3") == []
    assert found(online, w="dead") == [("claim", "off")]
    assert found(online) == [("claim", "off")]
    assert found(replace(online, enlisted={"phone": False}), w="3") == [("claim", "off")]

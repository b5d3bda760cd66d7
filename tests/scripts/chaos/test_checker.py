"""The checker of histories finds every violation planted into a run, and none where there is none."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.chaos.checker import (
    ACCEPTED_STAYS,
    ANY_GAP,
    MAY_REWIND,
    NOTHING_LOST,
    OVER,
    Promise,
    lost_with_the_server,
    violations,
)
from scripts.chaos.history import Delivered, History, Kept, Tried, line, load
from tests.scripts.chaos.runs import BOB, Fair, acked, at, ended, frame, gap, got, hello, kept, live, sent


def run(*numbers: int) -> History:
    """Alice sent five messages to Bob; his phone was given these, in this order, whatever its connections."""
    history = History()
    sent(history)
    got(history, "", *numbers)
    return history


def kinds(history: History, promise: Promise = ANY_GAP) -> set[str]:
    return {line.partition(":")[0] for line in violations(history.records, [BOB], promise)}


def test_a_perfect_run_has_no_violation() -> None:
    assert violations(run(1, 2, 3, 4, 5).records, [BOB]) == []


def test_repeats_are_counted_and_no_violation() -> None:
    history = run(1, 2, 3, 2, 3, 4, 5)
    assert kinds(history) == set()
    assert history.repeats(BOB) == 2


def test_a_message_that_never_came_is_lost() -> None:
    history = run(1, 2, 3, 4)
    assert kinds(history) == {"lost"}
    assert history.missing(BOB) == 1


def test_nothing_is_called_lost_for_a_device_that_is_still_reading() -> None:
    assert violations(run(1, 2, 3, 4).records) == []


def test_a_device_that_got_nothing_at_all_lost_everything() -> None:
    assert len(violations(run().records, [BOB])) == 5


def test_what_only_the_inbox_knows_of_is_lost_too() -> None:
    history = run(1, 2, 3, 4, 5)
    history.attempted("alice", "m6", 6, ["bob"])  # its answer was lost
    kept(history, 1, 2, 3, 4, 5, 6)
    assert kinds(history) == {"lost"}


def test_a_hole_in_the_middle_is_a_hole_and_lost() -> None:
    assert kinds(run(1, 2, 4, 5)) == {"lost", "hole"}


def test_a_hole_that_a_gap_tells_is_neither() -> None:
    history = run(1, 2, 4, 5)
    gap(history, "", 2, 3)
    assert kinds(history) == set()


def test_where_nothing_may_be_given_up_that_gap_is_a_violation() -> None:
    history = run(1, 2, 4, 5)
    gap(history, "", 2, 3)
    assert kinds(history, NOTHING_LOST) == {"gap"}


def test_a_hole_that_a_gap_tells_in_part_is_still_a_hole() -> None:
    history = run(1, 5)
    gap(history, "", 1, 3)
    assert kinds(history) == {"lost", "hole"}


def test_cursors_that_go_back_for_a_first_delivery_are_reordered() -> None:
    assert kinds(run(1, 3, 2, 4, 5)) == {"reordered"}


# Violations planted into a run that was perfect so far.


def planted_double_entry(history: History) -> None:
    history.delivered(*BOB, {**frame(6, "m5"), "body": 5})


def planted_double_acceptance(history: History) -> None:
    history.accepted("alice", "m5", "bob", "1009-9")


def planted_double_in_the_inbox(history: History) -> None:
    kept(history, 1, 2, 3, 4, 5)
    history.note(Kept(0, "alice", "m5", "bob", at(6)))
    history.delivered(*BOB, {**frame(6, "m5"), "body": 5})


def planted_unknown_message(history: History) -> None:
    history.attempted("mallory", "x", 1)
    history.delivered(*BOB, frame(6, "y", "mallory"))


def planted_other_body(history: History) -> None:
    history.attempted("alice", "m6", "was sent")
    history.delivered(*BOB, frame(6))


def planted_other_recipient(history: History) -> None:
    history.attempted("alice", "m6", 6, ["carol"])
    history.delivered(*BOB, frame(6))


def planted_two_at_one_cursor(history: History) -> None:
    history.attempted("alice", "m6", 5)
    history.delivered(*BOB, frame(5, "m6"))


def planted_disagreeing_devices(history: History) -> None:
    history.attempted("alice", "m6", 5)
    history.delivered("bob", "laptop", frame(5, "m6"))


def planted_before_its_time(history: History) -> None:
    history.delivered(*BOB, frame(6))
    history.attempted("alice", "m6", 6)


def planted_after_refusals(history: History) -> None:
    for _ in range(2):
        history.attempted("alice", "m6", 6)
        history.refused("alice", "m6", "inbox_full")
    history.delivered(*BOB, frame(6))


def planted_other_cursor(history: History) -> None:
    history.attempted("alice", "m6", 6)
    history.accepted("alice", "m6", "bob", "1016-6")
    history.delivered(*BOB, frame(6))


def planted_senders_order(history: History) -> None:
    for number in (7, 6):
        history.attempted("carol", f"m{number}", number)
    for number in (6, 7):
        history.delivered(*BOB, frame(number, sender="carol"))


def planted_replay_before_what_was_stored(history: History) -> None:
    acked(history, "", 5, stored=True)
    hello(history, "s2", start=3)
    got(history, "s2", 4, 5)


def planted_replay_before_what_a_welcome_said(history: History) -> None:
    acked(history, "", 5)
    hello(history, "s2", start=5)
    hello(history, "s3", start=4)
    live(history, "s3", 4)


def planted_replay_before_what_was_asked(history: History) -> None:
    acked(history, "", 5)
    hello(history, "s2", start=3, asked=5)
    got(history, "s2", 4, 5)


def planted_replay_beyond_the_last_ack(history: History) -> None:
    acked(history, "", 3)
    hello(history, "s2", start=5)


def planted_step_back_on_one_connection(history: History) -> None:
    hello(history, "s2", start=0)
    got(history, "s2", 1, 2, 2)


def planted_hole_on_one_connection(history: History) -> None:
    hello(history, "s2", start=0)
    got(history, "s2", 1, 2, 4)


def planted_hole_at_the_beginning(history: History) -> None:
    hello(history, "s2", start=0)
    got(history, "s2", 2)


def planted_hole_before_live(history: History) -> None:
    hello(history, "s2", start=0)
    got(history, "s2", 1)
    live(history, "s2", 5)


def planted_gap_elsewhere(history: History) -> None:
    hello(history, "s2", start=0)
    gap(history, "s2", 2, 3)


def planted_gap_backwards(history: History) -> None:
    hello(history, "s2", start=0)
    got(history, "s2", 1, 2)
    gap(history, "s2", 2, 1)


def planted_throwing_out(history: History) -> None:
    hello(history, "s2", start=0, attempt=2)
    ended(history, "s2", 4509)


def planted_throwing_out_for_a_predecessor(history: History) -> None:
    hello(history, "s2", start=0, attempt=2)
    hello(history, "s1", start=0, attempt=1)
    ended(history, "s2", 4509)


def planted_protocol_error(history: History) -> None:
    hello(history, "s2", start=0, attempt=2)
    hello(history, "s3", start=0, attempt=3)
    ended(history, "s2", 4500)


def receipt(history: History, target: str, number: int = 1, by: str = "bob") -> None:
    """Alice's phone is told that somebody has her message."""
    more = {"type": "receipt", "by": by, "target": target, "id": f"delivered:{target}"}
    history.told("alice", "phone", {**frame(number), **more})


def planted_receipt_for_what_was_never_sent(history: History) -> None:
    receipt(history, "m9")


def planted_receipt_of_somebody_else(history: History) -> None:
    receipt(history, "m5", by="carol")


def planted_receipt_before_the_ack(history: History) -> None:
    acked(history, "", 4)
    receipt(history, "m5")
    acked(history, "", 5)


def planted_receipt_twice(history: History) -> None:
    acked(history, "", 5)
    receipt(history, "m5", 1)
    receipt(history, "m5", 2)


PLANTED: tuple[tuple[Callable[[History], None], str], ...] = (
    (planted_double_entry, "doubled"),
    (planted_double_acceptance, "doubled"),
    (planted_double_in_the_inbox, "doubled"),
    (planted_unknown_message, "phantom"),
    (planted_other_body, "phantom"),
    (planted_other_recipient, "phantom"),
    (planted_two_at_one_cursor, "phantom"),
    (planted_disagreeing_devices, "phantom"),
    (planted_before_its_time, "early"),
    (planted_after_refusals, "refused"),
    (planted_other_cursor, "moved"),
    (planted_senders_order, "reordered"),
    (planted_replay_before_what_was_stored, "moved back"),
    (planted_replay_before_what_a_welcome_said, "moved back"),
    (planted_replay_before_what_was_asked, "moved back"),
    (planted_replay_beyond_the_last_ack, "moved ahead"),
    (planted_step_back_on_one_connection, "reordered"),
    (planted_hole_on_one_connection, "hole"),
    (planted_hole_at_the_beginning, "hole"),
    (planted_hole_before_live, "hole"),
    (planted_gap_elsewhere, "hole"),
    (planted_gap_backwards, "reordered"),
    (planted_throwing_out, "thrown out"),
    (planted_throwing_out_for_a_predecessor, "thrown out"),
    (planted_protocol_error, "thrown out"),
    (planted_receipt_for_what_was_never_sent, "untrue"),
    (planted_receipt_of_somebody_else, "untrue"),
    (planted_receipt_before_the_ack, "untrue"),
    (planted_receipt_twice, "doubled"),
)


@pytest.mark.parametrize(("plant", "kind"), PLANTED)
def test_a_planted_violation_is_found(plant: Callable[[History], None], kind: str) -> None:
    history = run(1, 2, 3, 4, 5)
    plant(history)
    assert kind in kinds(history)


def test_receipts_for_what_was_acked_are_no_violation() -> None:
    history = run(1, 2, 3, 4, 5)
    acked(history, "", 3)
    receipt(history, "m3", 1)
    acked(history, "", 5)
    receipt(history, "m5", 2)
    assert kinds(history) == set()


def test_what_was_refused_but_may_be_in_all_the_same_is_no_violation() -> None:
    history = run(1, 2, 3, 4, 5)
    history.attempted("alice", "m6", 6)
    history.refused("alice", "m6", "unavailable")
    history.attempted("alice", "m6", 6)
    history.refused("alice", "m6", "out_of_order")
    got(history, "", 6)
    assert kinds(history) == set()


def test_what_was_given_up_has_no_place_in_its_senders_order() -> None:
    history = run(1, 2, 3, 4, 5)
    for number in (7, 6):
        history.attempted("carol", f"m{number}", number)
    history.skipped("carol", "m7")
    for number in (6, 7):
        history.delivered(*BOB, frame(number, sender="carol"))
    assert kinds(history) == set()


def test_own_copies_out_of_order_are_found_where_they_have_one() -> None:
    history = run(1, 2, 3, 4, 5)
    for number in (7, 6):
        history.attempted("bob", f"m{number}", number)
    for number in (6, 7):
        history.delivered(*BOB, frame(number, sender="bob"))
    assert kinds(history) == {"reordered"}
    assert kinds(history, Promise(copies_in_order=False)) == set()


def test_a_successor_may_take_the_place_of_a_connection() -> None:
    history = run(1, 2, 3, 4, 5)
    hello(history, "s2", start=0, attempt=2)
    hello(history, "s3", start=0, attempt=3)
    ended(history, "s2", 4509)
    assert kinds(history) == set()


# The server may lose its newest entries: what holds all the same.


def rewound(told: bool = True) -> History:
    """Bob saw five; three to five are lost; carol's come in their place, numbered anew."""
    history = run(1, 2, 3, 4, 5)
    acked(history, "", 5)
    history.mark(OVER)
    hello(history, "s2", start=2 if told else 5, asked=5)
    if told:
        gap(history, "s2", 5, 2, "rewound")
    for number in (3, 4):
        history.attempted("carol", f"m{number}", number, ["bob"])
        history.accepted("carol", f"m{number}", "bob", f"{2000 + number}-{number}")
        if told:
            content = {**frame(number, sender="carol"), "cursor": f"{2000 + number}-{number}"}
            history.delivered(*BOB, content, "s2")
        history.note(Kept(0, "carol", f"m{number}", "bob", at(number)._replace(ms=2000 + number)))
    kept(history, 1, 2)
    return history


def test_a_lost_tail_that_was_told_is_no_violation_where_it_may_happen() -> None:
    assert violations(rewound().records, [BOB], MAY_REWIND) == []
    assert {identity for _, identity in lost_with_the_server(rewound().records)} == {
        ("alice", "m3"),
        ("alice", "m4"),
        ("alice", "m5"),
    }


def test_a_lost_tail_is_a_violation_where_it_may_not_happen() -> None:
    assert "gap" in kinds(rewound(), NOTHING_LOST)


def test_what_was_accepted_may_be_asked_to_stay_though_the_server_loses_the_rest() -> None:
    assert kinds(rewound(), ACCEPTED_STAYS) == {"lost"}


def test_a_lost_tail_that_nobody_told_is_found() -> None:
    assert kinds(rewound(told=False), MAY_REWIND) == {"lost", "silent"}


def test_what_was_accepted_after_the_fault_may_not_be_lost() -> None:
    history = rewound()
    history.attempted("dave", "m1", 1, ["bob"])
    history.accepted("dave", "m1", "bob", "3000-5")
    assert kinds(history, MAY_REWIND) == {"lost"}


# Random fair runs.


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 120))
def test_random_fair_runs_have_no_violation(seed: int, steps: int) -> None:
    history = Fair(seed).run(steps)
    complete = [("bob", "phone"), ("bob", "laptop")]
    assert violations(history.records, complete, NOTHING_LOST) == []


@given(seed=st.integers(0, 2**32), pick=st.randoms(use_true_random=False))
def test_an_entry_taken_out_of_a_fair_run_is_missed(seed: int, pick: random.Random) -> None:
    history = Fair(seed).run(80)
    got = sorted({(record.reader, record.cursor) for record in history.records if isinstance(record, Delivered)})
    if not got:
        return
    reader, cursor = pick.choice(got)
    history.records = [
        record
        for record in history.records
        if not (isinstance(record, Delivered) and (record.reader, record.cursor) == (reader, cursor))
    ]
    found = {text.partition(":")[0] for text in violations(history.records, [reader], NOTHING_LOST)}
    assert "lost" in found


@given(seed=st.integers(0, 2**32))
def test_a_history_survives_its_file(seed: int) -> None:
    history = Fair(seed).run(60)
    assert load(line(record) for record in history.records).records == history.records


def test_a_line_keeps_what_a_record_says() -> None:
    record = Tried(1.5, "alice", "m1", ("bob", "carol"), {"text": "ü"})
    assert load([line(record)]).records == [record]

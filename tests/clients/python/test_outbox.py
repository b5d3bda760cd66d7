"""The outbox, fed with answers and times."""

from collections.abc import Iterator
from typing import Any

import pytest
from inboxd_client.outbox import ItemState, Limits, Outbox, OutboxItem
from inboxd_client.timing import Timing

HOUR = 3_600_000


def outbox(*items: OutboxItem, limits: Limits | None = None) -> Outbox:
    made = Outbox(Timing(), items, max)
    made.connected(limits or Limits())
    return made


def put(box: Outbox, *ids: str, expires_in: int | None = None, body: str = "1", at: int = 0) -> None:
    for id in ids:
        box.add(OutboxItem(id, "bob", body, expires_in), at)
        box.stored(id)


def out(box: Outbox, now: float = 0.0, wall: int = 0) -> list[str]:
    return [item.id for item in box.ready(now, wall).sending]


def error(id: str, code: str, *, retryable: bool = True, **more: Any) -> dict[str, Any]:
    return {"type": "error", "id": id, "code": code, "message": "", "retryable": retryable, **more}


def state(box: Outbox, id: str) -> ItemState:
    item = box.get(id)
    assert item is not None
    return item.state


def test_nothing_leaves_before_welcome_nor_before_it_is_stored() -> None:
    box = Outbox(Timing())
    box.add(OutboxItem("a", "bob", "1"), 0)
    assert out(box) == []
    box.connected(Limits())
    assert out(box) == []
    box.stored("a")
    assert out(box) == ["a"]
    assert out(box) == []


def test_nothing_overtakes_an_item_that_is_being_stored() -> None:
    box = outbox()
    box.add(OutboxItem("a", "bob", "1"), 0)
    put(box, "b")
    assert out(box) == []
    box.stored("a")
    assert out(box) == ["a", "b"]


def test_sixty_four_at_a_time_are_on_their_way() -> None:
    box = outbox()
    put(box, *(f"m-{number}" for number in range(70)))
    assert len(out(box)) == 64
    box.accepted("m-3")
    assert out(box) == ["m-64"]


def test_what_was_not_answered_goes_out_again_in_order() -> None:
    box = outbox()
    put(box, "a", "b", "c")
    out(box)
    box.accepted("b")
    box.disconnected()
    put(box, "d")
    assert out(box) == []
    box.connected(Limits())
    assert out(box) == ["a", "c", "d"]


def test_after_an_unknown_outcome_everything_waits_and_the_failed_one_goes_first() -> None:
    box = outbox()
    put(box, "a", "b", "c")
    out(box)
    box.refused(error("a", "unavailable"), 0)
    put(box, "d")
    box.refused(error("b", "out_of_order"), 0)
    assert out(box, 99) == []  # c may still be answered
    box.refused(error("c", "out_of_order"), 0)
    assert out(box, 0.4) == []
    assert out(box, 0.5) == ["a", "b", "c", "d"]


def test_the_wait_after_refusals_doubles_and_an_acceptance_ends_that() -> None:
    box = outbox()
    put(box, "a")
    for wait in (0.5, 1.0, 2.0):
        out(box, 100)
        box.refused(error("a", "overloaded"), 0)
        assert box.deadline == wait
    put(box, "b")
    out(box, 100)
    box.accepted("a")
    box.refused(error("b", "internal"), 0)
    assert box.deadline == 0.5


def test_the_service_may_say_how_long_to_wait() -> None:
    box = outbox()
    put(box, "a")
    out(box)
    box.refused(error("a", "rate_limited", retry_after=7), 1)
    assert box.deadline == 8


def test_a_failed_one_goes_before_an_older_one_that_was_retried_meanwhile() -> None:
    box = outbox()
    put(box, "a", "b")
    out(box)
    box.refused(error("a", "id_reused", retryable=False), 0)
    box.refused(error("b", "unavailable"), 0)
    box.retry("a")
    assert out(box, 1) == ["b", "a"]


def test_out_of_order_for_no_known_reason_is_not_repeated_at_once() -> None:
    box = outbox()
    put(box, "a")
    out(box)
    box.refused(error("a", "out_of_order"), 0)
    assert out(box, 0.4) == []
    assert out(box, 0.5) == ["a"]


@pytest.mark.parametrize(("code", "retryable"), (("id_reused", False), ("refused", False), ("inbox_full", True)))
def test_a_refusal_for_good_stays_until_retry_or_discard(code: str, retryable: bool) -> None:
    box = outbox()
    put(box, "a", "b")
    out(box)
    failed, skip = box.refused(error("a", code, retryable=retryable), 0)
    assert failed is not None
    assert not skip
    assert failed.error == {"code": code, "message": ""}
    assert state(box, "a") is ItemState.FAILED
    box.accepted("b")
    assert out(box) == []
    box.retry("a")
    assert out(box) == ["a"]


def test_discarding_a_failed_outcome_tells_the_service() -> None:
    box = outbox()
    put(box, "a", "b")
    out(box)
    box.refused(error("a", "unavailable"), 0)
    assert box.discard("a")[1]
    box.refused(error("b", "out_of_order"), 0)
    assert out(box, 1) == ["b"]
    assert box.discard("b") != (None, True)
    assert box.discard("b") == (None, False)


def test_discarding_what_is_on_its_way_tells_the_service_if_it_fails_then() -> None:
    box = outbox()
    put(box, "a")
    out(box)
    assert not box.discard("a")[1]
    assert box.is_leaving("a")
    assert box.refused(error("a", "unavailable"), 0) == (None, True)
    assert not box.is_leaving("a")


def test_what_the_service_may_have_forgotten_is_not_sent_by_itself() -> None:
    old = OutboxItem("a", "bob", "1", None, 1, 0, tried_at=0)
    box = outbox(old, OutboxItem("b", "bob", "1", None, 2, 0), limits=Limits(dedupe_window=3600))
    turn = box.ready(0, HOUR + 1)
    assert [item.id for item in turn.stale] == ["a"]
    assert [item.id for item in turn.sending] == ["b"]
    box.retry("a")
    assert out(box, 0, HOUR + 1) == ["a"]


def test_a_failed_outcome_that_grows_stale_on_one_connection_is_given_up_there() -> None:
    box = outbox(limits=Limits(dedupe_window=3600))
    put(box, "a", "b")
    out(box)
    box.refused(error("a", "unavailable"), 0)
    box.refused(error("b", "out_of_order"), 0)
    box.retry("b")
    put(box, "c", at=HOUR)
    turn = box.ready(9, HOUR + 1)
    assert turn.skipped == ["a"]
    assert [item.id for item in turn.stale] == ["a", "b"]
    assert [item.id for item in turn.sending] == ["c"]


def test_ten_thousand_waiting_items_are_not_looked_at_for_each_answer() -> None:
    box = outbox()
    put(box, *(f"m-{number}" for number in range(10_000)))
    out(box)
    looked: list[str] = []
    queue = box._queue

    def counted() -> Iterator[OutboxItem]:
        for item in queue():
            looked.append(item.id)
            yield item

    box._queue = counted  # type: ignore[method-assign]
    box.accepted("m-0")
    assert out(box) == ["m-64"]
    assert len(looked) == 2


def test_without_a_word_of_the_service_ids_are_known_for_a_day() -> None:
    assert Limits.of({}).dedupe_window == 24 * 3600
    assert Limits.of({"dedupe_window": 60}).dedupe_window == 60


def test_a_time_that_is_over_before_the_first_try_is_a_failure() -> None:
    box = outbox()
    put(box, "a", expires_in=10)
    (failed,) = box.ready(0, 10_000).failed
    assert failed.error is not None
    assert failed.error["code"] == "expired"


def test_the_remaining_seconds_are_sent_and_at_least_one_to_learn_a_fate() -> None:
    item = OutboxItem("a", "bob", "1", 10, 1, 0)
    assert item.frame(0)["expires_in"] == 10
    assert item.frame(4_200)["expires_in"] == 6
    assert OutboxItem("a", "bob", "1", 10, 1, 0, tried_at=1).frame(99_000)["expires_in"] == 1


@pytest.mark.parametrize("limits", (Limits(max_body=9), Limits(max_frame=50)))
def test_what_is_too_large_never_leaves(limits: Limits) -> None:
    box = outbox(limits=limits)
    put(box, "a", body='"ééééé"')
    (failed,) = box.ready(0, 0).failed
    assert failed.error is not None
    assert failed.error["code"] == "too_large"


def test_a_restart_sends_what_was_on_its_way_and_numbers_go_on() -> None:
    box = outbox(OutboxItem("a", "bob", "1", None, 7, 0, 1, ItemState.SENT))
    put(box, "b")
    assert [item.order for item in box.items()] == [7, 8]
    assert out(box) == ["a", "b"]

"""What a session has in flight, what it holds back, and when it asks for more."""

import pytest

from service.core.session import HELD_BYTES, HELD_ENTRIES, PAGE_BYTES, PAGE_ENTRIES, WINDOW_BYTES, State
from tests.core.inbox_model import Inbox
from tests.core.rig import Rig


@pytest.fixture
def inbox() -> Inbox:
    inbox = Inbox()
    inbox.claim()
    return inbox


@pytest.fixture
def rig(inbox: Inbox) -> Rig:
    return Rig(inbox)


def filled(inbox: Inbox, count: int, size: int = 10) -> None:
    for _ in range(count):
        inbox.append(size)


def test_no_more_than_the_window_is_in_flight(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 10)
    rig.connect(window=4)
    rig.pages()
    assert rig.told() == ["welcome", "m1", "m2", "m3", "m4"]
    assert rig.session.in_flight == 4
    assert rig.session.state is State.REPLAYING


def test_a_window_of_one_goes_entry_by_entry(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 3)
    rig.connect(window=1)
    for _ in range(4):
        rig.pages()
        rig.ack()
    assert rig.told() == ["welcome", "m1", "m2", "m3", "live"]


def test_the_next_page_is_asked_for_when_half_the_window_is_free(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 10)
    rig.connect(window=4)
    rig.pages()
    sent = list(rig.device.sent)
    rig.ack(sent[0])
    assert not rig.reading
    rig.ack(sent[1])
    assert rig.reads[-1] == 2
    rig.pages()
    assert rig.told()[-2:] == ["m5", "m6"]


def test_a_page_is_never_larger_than_what_may_be_sent(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 2000, size=1)
    rig.connect(window=1024)
    while rig.session.state is not State.LIVE:
        rig.pages()
        rig.ack()
    assert max(rig.reads) <= PAGE_ENTRIES
    assert rig.told()[-1] == "live"


def test_pages_adapt_to_the_sizes_seen(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 600, size=1)
    filled(inbox, 100, size=60_000)
    rig.connect(window=1024)
    while rig.session.state is not State.LIVE:
        rig.pages()
        rig.ack()
    assert rig.reads[0] == 64, "4 KiB an entry is the first guess"
    assert max(rig.reads) > 256, "small entries make large pages"
    assert rig.reads[-1] <= 2 * PAGE_BYTES // 60_000, "large entries make small pages"


def test_no_more_than_the_bytes_of_the_window_are_in_flight(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 12, size=100_000)
    rig.connect(window=256)
    rig.pages()
    in_flight = sum(size for _, size in rig.device.in_flight)
    assert WINDOW_BYTES - 100_100 < in_flight <= WINDOW_BYTES


def test_one_entry_is_let_through_however_large(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 2, size=WINDOW_BYTES + 1)
    rig.connect(window=256)
    rig.pages()
    assert rig.told() == ["welcome", "m1"]
    rig.ack()
    rig.pages()
    assert rig.told() == ["m2", "live"]


@pytest.mark.parametrize("size", (5_000, 100_000, 300_000, WINDOW_BYTES))
def test_a_device_that_does_not_ack_has_no_page_read_in_vain(inbox: Inbox, rig: Rig, size: int) -> None:
    filled(inbox, 400, size)
    rig.connect(window=256)
    rig.pages()  # would go on for ever where the same page is read again and again
    assert not rig.session.behind, "patience would have the same page read every 20 ms"
    rig.settle()
    assert not rig.reading


def test_a_full_window_holds_live_entries_back_and_acks_let_them_go(inbox: Inbox, rig: Rig) -> None:
    rig.connect(window=2)
    rig.pages()
    hints = [inbox.append() for _ in range(5)]
    for hint in hints:
        rig.hint(hint)
    assert rig.told() == ["welcome", "live", "m1", "m2"]
    rig.ack(hints[0].cursor)
    assert rig.told() == ["m3"]
    rig.ack()
    rig.pages()
    assert rig.told() == ["m4", "m5"]


def test_a_full_window_in_bytes_holds_live_entries_back_too(inbox: Inbox, rig: Rig) -> None:
    rig.connect(window=256)
    rig.pages()
    first = inbox.append(WINDOW_BYTES - 1000)
    second = inbox.append(2000)
    rig.hint(first)
    rig.hint(second)
    assert rig.told() == ["welcome", "live", "m1"]
    rig.ack()
    rig.pages()
    assert rig.told() == ["m2"]


def test_held_hints_are_bounded_in_number_and_the_rest_is_read(inbox: Inbox, rig: Rig) -> None:
    rig.connect(window=256)
    rig.pages()
    inbox.append()  # its hint is lost
    for hint in [inbox.append() for _ in range(HELD_ENTRIES + 20)]:
        rig.hint(hint)
        assert len(rig.session._held) <= HELD_ENTRIES
    assert len(rig.session._held) == HELD_ENTRIES
    rig.settle()
    rig.pages()
    assert rig.told() == ["welcome", "live", *(f"m{n}" for n in range(1, HELD_ENTRIES + 22))]
    assert rig.session._held == {}
    assert rig.session._held_bytes == 0


def test_held_hints_are_bounded_in_bytes(inbox: Inbox, rig: Rig) -> None:
    rig.connect(window=256)
    rig.pages()
    inbox.append()  # its hint is lost
    for hint in [inbox.append(5000) for _ in range(20)]:
        rig.hint(hint)
        assert rig.session._held_bytes <= HELD_BYTES
    assert len(rig.session._held) == HELD_BYTES // 5100
    rig.settle()
    rig.pages()
    assert len(rig.told()) == 2 + 21


def test_live_comes_although_held_hints_have_finished_the_replay(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 4)
    last = inbox.append()
    rig.connect(window=4)
    rig.pages()  # the window is full
    rig.hint(last)  # held
    rig.ack(rig.device.sent[0])
    assert rig.told() == ["welcome", "m1", "m2", "m3", "m4", "m5", "live"]
    rig.ack(last.cursor)
    rig.pages()
    assert rig.told() == []


def test_a_replay_that_ends_with_the_window_full_is_live(inbox: Inbox, rig: Rig) -> None:
    filled(inbox, 4)
    rig.connect(window=4)
    rig.pages()
    rig.ack()
    rig.pages()
    assert rig.told() == ["welcome", "m1", "m2", "m3", "m4", "live"]


def test_gaps_count_in_the_window(inbox: Inbox, rig: Rig) -> None:
    hints = [inbox.append() for _ in range(6)]
    inbox.delete(hints[1].cursor)
    inbox.delete(hints[3].cursor)
    rig.connect(window=2)
    rig.pages()
    assert rig.told() == ["welcome", "m1", "gap deleted 1"]
    rig.ack()
    rig.pages()
    assert rig.told() == ["m3", "gap deleted 1"]

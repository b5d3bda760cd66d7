"""Pages: which can be believed, and what their holes are called."""

import pytest

from service.core.cursor import START, Cursor
from service.core.entries import Entry, Missing
from service.core.erased import Deleted
from service.core.page import Gap, Page


def at(seq: int, ms: int | None = None) -> Cursor:
    """A cursor whose time follows its number."""
    return Cursor(1000 + 10 * seq if ms is None else ms, seq)


def entry(seq: int, tail: bytes | Missing = b"{}") -> Entry:
    return Entry(at(seq), tail)


def page(after: Cursor, *entries: Entry, last: int | None = None, found: bool = True, complete: bool = True) -> Page:
    newest = at(last) if last is not None else entries[-1].cursor
    return Page(after, entries, newest, found, complete)


def unfound(after: Cursor, *entries: Entry, last: Cursor, before: Cursor | None = None) -> Page:
    return Page(after, entries, last, found=False, complete=True, before=before)


def deleted(seq: int, ms: int | None = None) -> Deleted:
    return Deleted(at(seq, ms), b'{"type":"deleted"}')


# Trust.


def test_a_page_whose_cursor_is_there_is_trusted() -> None:
    assert page(at(3), entry(4)).trusted
    assert page(at(3), last=3).trusted


def test_a_page_from_the_start_is_always_trusted() -> None:
    assert unfound(START, last=START).trusted
    assert unfound(START, entry(1), last=at(1)).trusted
    assert unfound(START, entry(700), last=at(700)).trusted
    assert unfound(START, last=at(700)).trusted


def test_a_cursor_older_than_the_first_entry_kept_is_trusted() -> None:
    assert unfound(at(3), entry(7), last=at(7)).trusted


def test_a_cursor_in_an_inbox_that_retention_has_dropped_is_trusted() -> None:
    assert unfound(at(3), last=at(7)).trusted
    assert unfound(at(7), last=at(7)).trusted


def test_a_cursor_that_was_deleted_is_trusted() -> None:
    assert unfound(at(3), entry(4), last=at(4), before=at(2)).trusted
    assert unfound(at(4), last=at(4), before=at(3)).trusted


@pytest.mark.parametrize("ms", (1, 5000))
def test_a_number_that_another_entry_has_now_is_a_rewind(ms: int) -> None:
    lost = at(5, ms)
    kept = [Entry(cursor, b"{}") for cursor in (at(5), at(6)) if cursor > lost]
    before = max((cursor for cursor in (at(4), at(5), at(6)) if cursor < lost), default=None)
    assert not unfound(lost, *kept, last=at(6), before=before).trusted


def test_a_cursor_beyond_the_newest_is_a_rewind() -> None:
    assert not unfound(at(9), last=at(7), before=at(7)).trusted
    assert not unfound(at(8), last=at(7), before=at(7)).trusted
    assert not unfound(at(8), last=START).trusted


def test_a_history_that_begins_anew_is_a_rewind() -> None:
    assert not unfound(at(5, 1), entry(1), entry(2), last=at(2)).trusted


def test_the_newest_cursor_with_the_same_number_and_another_time_is_a_rewind() -> None:
    """Nothing is left of the stream, but its newest cursor proves that this number was handed out again."""
    assert not unfound(at(5, 1049), last=at(5)).trusted
    assert not unfound(at(5, 1049), last=at(5), before=at(4)).trusted


def test_a_cursor_later_than_the_newest_but_with_a_lower_number_is_a_rewind() -> None:
    """In one history later entries have higher numbers. Nothing else is left to tell by: the stream is empty."""
    assert not unfound(at(5, 9000), last=at(7)).trusted


def test_a_cursor_that_is_there_is_trusted_whatever_became_of_the_state() -> None:
    assert Page(at(5), [], START, found=True, complete=True).trusted


def test_a_number_handed_out_again_and_deleted_then_cannot_be_told_from_a_deletion() -> None:
    """The limit of what a hole proves; see `trusted`."""
    assert unfound(at(5, 1049), entry(6), last=at(6), before=at(4)).trusted


# Items.


def test_entries_without_holes_are_just_those() -> None:
    entries = [entry(4), entry(5)]
    assert list(page(at(3), *entries).items()) == entries


def test_a_page_with_nothing_new_has_no_items() -> None:
    assert list(page(at(3), last=3).items()) == []
    assert list(unfound(START, last=START).items()) == []


def test_a_hole_between_entries_was_deleted() -> None:
    assert list(page(at(3), entry(4), entry(7)).items()) == [
        entry(4),
        Gap(at(4), Cursor(at(7).ms, 6), 2, Missing.DELETED),
        entry(7),
    ]


def test_a_hole_behind_the_cursor_was_deleted_where_older_entries_are_kept() -> None:
    gap = Gap(at(3), Cursor(at(5).ms, 4), 1, Missing.DELETED)
    assert list(page(at(3), entry(5)).items()) == [gap, entry(5)]
    assert list(unfound(at(3), entry(5), last=at(5), before=at(2)).items()) == [gap, entry(5)]


def test_a_hole_behind_a_cursor_with_nothing_older_was_trimmed() -> None:
    assert list(unfound(at(3), entry(9), last=at(9)).items()) == [
        Gap(at(3), Cursor(at(9).ms, 8), 5, Missing.TRIMMED),
        entry(9),
    ]


def test_an_inbox_that_was_dropped_is_one_trimmed_gap() -> None:
    assert list(unfound(at(3), last=at(9)).items()) == [Gap(at(3), at(9), 6, Missing.TRIMMED)]


def test_a_deleted_end_is_told_once_the_page_reaches_it() -> None:
    gap = Gap(at(4), at(6), 2, Missing.DELETED)
    assert list(page(at(3), entry(4), last=6).items()) == [entry(4), gap]
    assert list(page(at(3), entry(4), last=6, complete=False).items()) == [entry(4)]


def test_entries_newer_than_the_newest_cursor_read_are_no_trouble() -> None:
    entries = [entry(4), entry(5)]
    assert list(page(at(3), *entries, last=4).items()) == entries


def test_expired_neighbours_share_a_gap() -> None:
    expired = [entry(4, Missing.EXPIRED), entry(5, Missing.EXPIRED)]
    assert list(page(at(3), *expired, entry(6)).items()) == [Gap(at(3), at(5), 2, Missing.EXPIRED), entry(6)]


def test_neighbours_missing_for_different_reasons_have_gaps_of_their_own() -> None:
    found = list(page(at(3), entry(5, Missing.EXPIRED), entry(6, Missing.DELETED), entry(8), last=9).items())
    assert found == [
        Gap(at(3), Cursor(at(5).ms, 4), 1, Missing.DELETED),
        Gap(Cursor(at(5).ms, 4), at(5), 1, Missing.EXPIRED),
        Gap(at(5), Cursor(at(8).ms, 7), 2, Missing.DELETED),
        entry(8),
        Gap(at(8), at(9), 1, Missing.DELETED),
    ]


def test_every_number_is_an_entry_or_in_one_gap() -> None:
    items = list(page(at(1), entry(4), entry(5, Missing.EXPIRED), entry(9), last=11).items())
    position = at(1)
    for item in items:
        upto = item.cursor if isinstance(item, Entry) else item.upto
        assert upto > position
        assert upto.seq - position.seq == (1 if isinstance(item, Entry) else item.missing)
        position = upto
    assert position == at(11)


def test_a_gap_says_how_many_have_expired() -> None:
    items = page(at(3), entry(4, Missing.EXPIRED), entry(5, Missing.EXPIRED), entry(6), entry(8)).items()
    assert [item.expired for item in items if isinstance(item, Gap)] == [2, 0]
    assert Gap(at(3), at(1), None, Missing.REWOUND).expired == 0


# What was deleted.


def test_only_a_page_with_something_missing_has_to_be_filled() -> None:
    assert not page(at(3), entry(4), entry(5)).holed
    assert not page(at(3), last=3).holed
    assert not unfound(START, entry(1), last=at(1)).holed
    assert not page(at(3), entry(4), last=9, complete=False).holed
    assert page(at(3), entry(4), entry(6)).holed
    assert page(at(3), entry(4), last=5).holed
    assert unfound(at(3), entry(4), last=at(4), before=at(2)).holed
    assert unfound(START, entry(2), last=at(2)).holed


def test_what_was_deleted_stands_in_its_place() -> None:
    filled = page(at(3), entry(5), entry(8), last=9).filled([deleted(4), deleted(7), deleted(9)], 10, whole=True)
    assert list(filled.items()) == [
        deleted(4),
        entry(5),
        Gap(at(5), Cursor(at(7).ms, 6), 1, Missing.DELETED),
        deleted(7),
        entry(8),
        deleted(9),
    ]


def test_a_filled_page_holds_no_more_than_was_asked_for_and_says_so() -> None:
    rows = [deleted(4), deleted(5), deleted(7)]
    assert page(at(3), entry(6), last=7).filled(rows, 4, whole=True).complete
    some = page(at(3), entry(6), last=7).filled(rows, 3, whole=True)
    assert (list(some.entries), some.complete) == ([deleted(4), deleted(5), entry(6)], False)
    assert not page(at(3), entry(6), last=7).filled(rows[:2], 3, whole=False).complete


def test_what_was_deleted_while_the_page_was_being_read_is_not_shown() -> None:
    assert list(page(at(3), entry(4), entry(6)).filled([deleted(4), deleted(5)], 10, whole=True).entries) == [
        deleted(4),
        deleted(5),
        entry(6),
    ]


def test_a_device_whose_cursor_stands_on_what_was_deleted_goes_on() -> None:
    filled = unfound(at(4), entry(5), last=at(5), before=at(3)).filled([deleted(4)], 10, whole=True)
    assert filled.trusted
    assert list(filled.items()) == [entry(5)]
    assert unfound(at(4), last=at(4), before=at(3)).filled([deleted(4)], 10, whole=True).trusted


@pytest.mark.parametrize("ms", (1035, 1049))
@pytest.mark.parametrize("count", (0, 10))
def test_a_number_that_another_deleted_message_has_now_is_a_rewind(ms: int, count: int) -> None:
    """By the stream alone it could not be told: there is a hole at just this number."""
    lost = at(4, 1041)
    plain = unfound(lost, entry(6), last=at(6), before=at(3))
    assert plain.trusted
    assert not plain.filled([deleted(4, ms), deleted(5, 1050)], count, whole=True).trusted


def test_what_was_trimmed_around_a_deleted_message_was_not_deleted() -> None:
    filled = unfound(START, entry(9), last=at(9)).filled([deleted(3)], 10, whole=True)
    assert list(filled.items()) == [
        Gap(START, Cursor(at(3).ms, 2), 2, Missing.TRIMMED),
        deleted(3),
        Gap(at(3), Cursor(at(9).ms, 8), 5, Missing.TRIMMED),
        entry(9),
    ]

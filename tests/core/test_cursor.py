"""Cursors: read strictly from clients, quickly from our own scripts, and ordered by time, then number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.cursor import START, Cursor

PARTS = st.integers(0, 10**16 - 1)


@given(PARTS, PARTS)
def test_what_is_written_is_read_again(ms: int, seq: int) -> None:
    cursor = Cursor(ms, seq)
    assert Cursor.parse(str(cursor)) == cursor
    assert Cursor.of(cursor.raw()) == cursor
    assert cursor.raw() == str(cursor).encode()


@given(PARTS, PARTS, PARTS, PARTS)
def test_time_orders_before_number(ms: int, seq: int, other_ms: int, other_seq: int) -> None:
    if ms != other_ms:
        assert (Cursor(ms, seq) < Cursor(other_ms, other_seq)) == (ms < other_ms)
    else:
        assert (Cursor(ms, seq) < Cursor(other_ms, other_seq)) == (seq < other_seq)


@given(PARTS, PARTS)
def test_the_start_is_before_everything(ms: int, seq: int) -> None:
    assert Cursor(ms, seq) >= START


@pytest.mark.parametrize(
    "text",
    (
        "",
        "1",
        "1-",
        "-1",
        "1-2-3",
        "01-2",
        "1-02",
        "+1-2",
        "-1-2",
        " 1-2",
        "1-2 ",
        "1-2\n",
        "1 -2",
        "0x1-2",
        "1e3-2",
        "1.0-2",
        "*",
        "$",
        "\N{ARABIC-INDIC DIGIT ONE}-1",
        "10000000000000000-1",
        "1-10000000000000000",
    ),
)
def test_anything_but_two_plain_decimals_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="two decimal numbers"):
        Cursor.parse(text)


def test_zero_is_written_with_one_digit() -> None:
    assert Cursor.parse("0-0") == START
    assert str(START) == "0-0"


def test_the_numbers_of_two_cursors_differ_by_the_entries_between_them() -> None:
    assert Cursor(1700, 12).seq - Cursor(1650, 9).seq == 3

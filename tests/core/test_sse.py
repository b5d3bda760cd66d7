"""Frames as events: whatever a body holds, each arrives as one event, with the cursor for its id."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import sse
from service.core.cursor import Cursor
from service.core.entries import Missing, frame, gap_frame, message_tail
from service.core.errors import Fault
from service.core.frames import broadcast_frame, closing_frame, error_frame, live_frame
from service.core.strict_json import compact
from tests.support.event_text import Event, EventText, TextBrokenError

AT = Cursor(1795350000123, 46)


def read(*parts: bytes) -> tuple[EventText, list[Event]]:
    text = EventText()
    events = [event for part in parts for event in text.feed(part)]
    text.end()
    return text, events


def message(body: Any, replay: bool = True) -> bytes:
    return frame(message_tail("m-1", "alice", "bob", compact(body, 1 << 20)), AT, replay)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("cursor", "a\n", ",")), inner),
    max_leaves=8,
)


@given(body=JSON | st.sampled_from(('x","cursor":"9-9","', "\r\n\r\n", "id: 7\n", "\u2028")), replay=st.booleans())
def test_a_message_is_one_event_whatever_its_body_holds(body: Any, replay: bool) -> None:
    _, [event] = read(sse.event(message(body, replay)))
    assert (event.type, event.id) == ("message", str(AT))
    assert json.loads(event.data)["body"] == body


def test_line_ends_that_somebody_put_into_the_store_break_no_event() -> None:
    line = frame(message_tail("m-1", "alice", "bob", b'{"a":\r\n1,\n\n"b":2}'), AT, replay=True)
    _, [event] = read(sse.event(line))
    assert json.loads(event.data)["body"] == {"a": 1, "b": 2}


def test_a_gap_has_an_id() -> None:
    _, [event] = read(sse.event(gap_frame(Cursor(1, 1), AT, 45, Missing.TRIMMED)))
    assert (event.type, event.id) == ("gap", str(AT))


@pytest.mark.parametrize(
    "line",
    (
        live_frame(AT),
        orjson.dumps({"type": "welcome", "cursor": str(AT), "head": str(AT)}),
        broadcast_frame(orjson.dumps({"type": "message", "cursor": str(AT)}), 5),
        error_frame(Fault("replaced", "elsewhere")),
    ),
    ids=("live", "welcome", "broadcast", "error"),
)
def test_what_is_no_entry_leaves_the_id_as_it_was(line: bytes) -> None:
    _, [_, event] = read(sse.event(message(1)), sse.event(line))
    assert event.id == str(AT), "so that a browser goes on after the last entry"
    assert json.loads(event.data) == json.loads(line)
    _, [alone] = read(sse.event(line))
    assert alone.id == ""


def test_a_drain_says_when_to_come_back_in_the_browsers_own_way() -> None:
    text, [event] = read(sse.event(closing_frame("restarting", 1234)))
    assert (event.type, text.retry) == ("closing", 1234)


def test_retry_and_keep_alive_are_no_events() -> None:
    text, events = read(sse.retry(2000), sse.KEEP_ALIVE, sse.KEEP_ALIVE)
    assert (text.retry, text.comments, events) == (2000, 2, [])


# The reader that the tests hold the service to.


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_it_matters_not_where_the_bytes_are_cut(cut: int) -> None:
    data = sse.retry(1) + sse.event(message("ü")) + sse.event(live_frame(AT))
    _, events = read(*(data[at : at + cut] for at in range(0, len(data), cut)))
    assert [event.type for event in events] == ["message", "live"]


@pytest.mark.parametrize(
    "broken",
    (b"data: 1\r\n\n", b"event: x\n\n", b"id: 1\n\n", b"data: 1\n\n", b"nonsense\n\n", b"retry: 1.5\n\n",
     b"event: x\ndata: 1\ndata: 2\n\n", b"event: x\ndata: 1\n", b"data"),
)  # fmt: skip
def test_what_browsers_would_pass_over_or_misread_is_refused(broken: bytes) -> None:
    with pytest.raises(TextBrokenError):
        read(broken)

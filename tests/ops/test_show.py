import io
import json
import re

import pytest

from service.ops.queries import DeviceView
from service.ops.show import Out, ReaderGoneError, body_text, clock, lasting, printable, to_json

NASTY = "a\x1b[31mred\x1b]0;title\x07\u202egnp\x9b2J\n\t\x7f\u2028[bold]x[/bold] :smile: [/]"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def unsafe(text: str) -> list[str]:
    return [char for char in text if not (char.isprintable() or char in "\n\t")]


def test_what_a_terminal_would_act_on_is_shown_as_an_escape() -> None:
    assert printable("a\x1b[2J\x9b\n\u202e\ud800") == "a\\u001b[2J\\u009b\\n\\u202e\\ud800"


def test_other_writing_is_left_as_it_is() -> None:
    assert printable("你好 👋 żółć “quoted” [x]") == "你好 👋 żółć “quoted” [x]"


def test_json_has_the_same_escapes_and_reads_back_as_it_was() -> None:
    text = to_json({"text": NASTY})
    assert not unsafe(text)
    assert json.loads(text) == {"text": NASTY}


def test_views_become_json_by_their_fields() -> None:
    device = DeviceView("phone", "1-2", 3, None, None)
    assert json.loads(to_json([device])) == [
        {"device": "phone", "cursor": "1-2", "behind": 3, "last_seen": None, "worker": None}
    ]


def test_what_is_no_view_is_no_json() -> None:
    with pytest.raises(TypeError, match="set is no JSON"):
        to_json(set())


@pytest.mark.parametrize(
    ("body", "shown"),
    (
        ({"text": "hi"}, "hi"),
        ({"text": "a\nb"}, "a\\nb"),
        ({"text": "hi", "lang": "en"}, '{"text":"hi","lang":"en"}'),
        ({"text": 3}, '{"text":3}'),
        ([1, "x"], '[1,"x"]'),
        (None, "null"),
    ),
)
def test_a_body_is_its_text_or_compact_json(body: object, shown: str) -> None:
    assert body_text(body) == shown


@pytest.mark.parametrize(
    ("ms", "shown"),
    (
        (None, "-"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1500, "1.5 s"),
        (60_000, "1 min"),
        (3_600_000, "1 h"),
        (259_200_000, "3 d"),
    ),
)
def test_spans_are_short(ms: int | None, shown: str) -> None:
    assert lasting(ms) == shown


def test_a_time_nobody_can_write_is_shown_as_the_number_it_is() -> None:
    assert clock(10**18) == str(10**18)
    assert clock(None) == "-"


def test_a_pipe_gets_columns_between_tabs() -> None:
    pipe = io.StringIO()
    Out(pipe).table("title", ("name", ">count"), [("a\tb", 1), (None, 20)])
    assert pipe.getvalue() == "name\tcount\na\\tb\t1\n-\t20\n"


def test_a_terminal_gets_a_table_with_foreign_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    out = Out(terminal)
    out.table("title", ("name",), [(NASTY,)])
    out.line("[bold]own[/bold] " + printable(NASTY), "red")
    shown = re.sub("\x1b\\[[0-9;]*m", "", terminal.getvalue())  # rich's own styles
    assert "a\\u001b[31mred" in shown
    assert "[bold]x[/bold] :smile: [/]" in shown.replace("\n", "")
    assert "[bold]own[/bold]" in shown
    assert not unsafe(shown)


def test_a_reader_that_has_left_is_no_failure_of_the_network() -> None:
    class Left(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    assert not issubclass(ReaderGoneError, OSError)
    with pytest.raises(ReaderGoneError):
        Out(Left()).line("x")
    with pytest.raises(ReaderGoneError):
        Out(Left()).table("x", ("a",), [])

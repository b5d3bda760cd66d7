"""Output of the commands: a table on a terminal, tab-separated text in a pipe, JSON for machines.

What users wrote is foreign: it reaches neither rich's markup nor the terminal's escape sequences.
"""

import contextlib
import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

# C0 and C1 controls, line and paragraph separators, and what turns the reading direction about: each can
# move the cursor, end a line, or make one text look like another. A lone surrogate cannot be printed at all.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """One line that a terminal shows as it is; what it might act on stands there as an escape."""
    return _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}"


def to_json(value: object) -> str:
    """Compact JSON in one line; the same characters are escaped, in JSON's own way."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def body_text(body: object) -> str:
    """A message's body for one line: its `text` where that is all it holds, else compact JSON."""
    if isinstance(body, dict) and list(body) == ["text"] and isinstance(body["text"], str):
        return printable(body["text"])
    return to_json(body)


def clock(ms: int | None) -> str:
    """Milliseconds since 1970 as local time to the second; `-` where there is none."""
    if ms is None:
        return "-"
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(ms)


def lasting(ms: int | None) -> str:
    """A span in milliseconds, short: `850 ms`, `3.2 s`, `5 min`, `7 h`, `12 d`."""
    if ms is None:
        return "-"
    for limit, unit, per in (
        (1_000, "ms", 1),
        (60_000, "s", 1_000),
        (3_600_000, "min", 60_000),
        (172_800_000, "h", 3_600_000),
    ):
        if ms < limit:
            return f"{ms / per:.1f} {unit}" if unit == "s" else f"{ms // per} {unit}"
    return f"{ms // 86_400_000} d"


class ReaderGoneError(Exception):
    """Who reads our output has left (`| head`). No OSError: on the network the same error means another try."""


@contextlib.contextmanager
def _to_a_reader() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error


class Out:
    """One stream of answers; `rich` only where a terminal is at the other end. Raises ReaderGoneError."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._console = Console(file=self._stream, highlight=False, markup=False, emoji=False)
        self.terminal = self._console.is_terminal

    def line(self, text: str = "", style: str | None = None) -> None:
        """A line of our own words and printable foreign ones; in a pipe without style or wrapping."""
        with _to_a_reader():
            if self.terminal:
                self._console.print(Text(text, style=style or ""), soft_wrap=True)
            else:
                self._stream.write(text + "\n")
            self._stream.flush()

    def table(self, title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """`heads` that start with `>` are columns of numbers, set to the right."""
        if self.terminal:
            with _to_a_reader():
                self._console.print(_rich_table(title, heads, rows))
            return
        plain = [[head.lstrip(">") for head in heads], *(map(_cell, row) for row in rows)]
        for row in plain:
            self.line("\t".join(map(printable, row)))


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _rich_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head.lstrip(">"), justify="right" if head.startswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(_cell(value))) for value in row))
    return table

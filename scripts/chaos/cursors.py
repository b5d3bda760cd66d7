"""Cursors as a client may see them."""

import re
from typing import NamedTuple, Self

_FORM = re.compile(r"(0|[1-9][0-9]*)-(0|[1-9][0-9]*)", re.ASCII)


class Cursor(NamedTuple):
    """A position in one inbox; compares by ms, then seq."""

    ms: int
    seq: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Raises ValueError for anything but `<ms>-<seq>`."""
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f"{text!r} is no cursor")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"


START = Cursor(0, 0)

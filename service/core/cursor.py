"""Cursor: a position in one inbox, `<ms>-<seq>`, which is also the entry's Redis Stream id."""

import re
from typing import NamedTuple, Self

_new = tuple.__new__  # a step less than the class's own: there are six of these for each message
FORM = "(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})"
_FORM = re.compile(FORM, re.ASCII)


class Cursor(NamedTuple):
    """`ms`: the server's clock at the append (ms since 1970); `seq`: entries of this inbox, from 1.

    Compares by ms, then seq. `seq` of two entries of one inbox differ by the entries between them.
    """

    ms: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads what a client wrote. Raises ValueError for anything but two plain decimals."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError("a cursor is <ms>-<seq>, two decimal numbers")
        return _new(cls, (int(found[1]), int(found[2])))

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """Reads what our own scripts wrote; no checks, for the hot path."""
        ms, _, seq = raw.partition(b"-")
        return _new(cls, (int(ms), int(seq)))

    def __str__(self) -> str:
        return f"{self[0]}-{self[1]}"

    def raw(self) -> bytes:
        return b"%d-%d" % self


START = Cursor(0, 0)
"""Before everything."""

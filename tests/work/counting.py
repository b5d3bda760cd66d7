"""Counts Python function calls of the whole loop, by whose code it is."""

import inspect
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.house.tree import ROOT

OURS, LIBRARIES = str(ROOT / "service"), f"{Path('site-packages')}"
INLINED = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>"})
"""No calls any more since Python 3.12."""


WAITS = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Calls:
    """Calls between `start` and `stop`, by function. Of this thread only. Of what is awaited only the beginning counts:
    how often it goes on depends on what had come by then.
    """

    def __init__(self) -> None:
        self._seen_at: Counter[tuple[CodeType, int]] = Counter()

    def start(self) -> None:
        sys.setprofile(self._seen)

    def stop(self) -> None:
        sys.setprofile(None)

    @contextmanager
    def rest(self) -> Iterator[None]:
        """What happens meanwhile does not count."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def _seen(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            code = frame.f_code
            self._seen_at[code, frame.f_lasti if code.co_flags & WAITS else 0] += 1

    @property
    def ours(self) -> int:
        """Of functions of the service."""
        return sum(count for code, count in self._known() if code.co_filename.startswith(OURS))

    @property
    def libraries(self) -> int:
        """Of functions of what is installed; neither the standard library, which changes with Python, nor tests."""
        return sum(count for code, count in self._known() if LIBRARIES in code.co_filename)

    def most(self, number: int) -> list[tuple[str, int]]:
        """The service's functions that were called most."""
        ours = Counter(
            {
                f"{Path(code.co_filename).relative_to(ROOT)}:{code.co_qualname}": count
                for code, count in self._known()
                if code.co_filename.startswith(OURS)
            }
        )
        return ours.most_common(number)

    def _known(self) -> list[tuple[CodeType, int]]:
        begun: dict[CodeType, tuple[int, int]] = {}
        for (code, at), count in self._seen_at.items():
            begun[code] = min(begun.get(code, (at, count)), (at, count))
        return [(code, count) for code, (_, count) in begun.items() if code.co_name not in INLINED]

"""The history of a test's run, judged by the checker of the chaos run."""

from scripts.chaos.checker import violations
from scripts.chaos.history import Frame, Identity, Reader
from scripts.chaos.history import History as Records

__all__ = ["Frame", "History", "Identity", "Reader"]


class History(Records):
    """Only the sends told to it count, so tell it of all of one sender to one inbox."""

    def violations(self, *complete: Reader) -> list[str]:
        """Everything wrong. `complete`: the devices that have read their inbox to the end."""
        return violations(self.records, complete)

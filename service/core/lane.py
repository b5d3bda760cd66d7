"""A lane: sends of one connection, accepted in order or refused. Pure."""


class Lane:
    """After a send fails with `unavailable`, every other is refused until the failed ones come again, in order."""

    def __init__(self) -> None:
        self._failed: dict[str, int] = {}  # id → its place in the order
        self._again: dict[str, int] = {}  # the same for those on their way once more
        self._count = 0

    @property
    def failed(self) -> list[str]:
        """Ids that must come again, the next one first."""
        return sorted(self._failed, key=self._failed.__getitem__)

    def admits(self, id: str) -> bool:
        """Whether this send may go on now."""
        if not self._failed:
            return True
        if id not in self._failed or self._failed[id] != min(self._failed.values()):
            return False
        self._again[id] = self._failed.pop(id)
        return True

    def fail(self, id: str) -> None:
        """The send's outcome is unknown."""
        if id not in self._failed:
            self._count += 1
            self._failed[id] = self._again.pop(id, self._count)

    def settle(self, id: str) -> None:
        """The send has its answer."""
        self._again.pop(id, None)

    def skip(self, id: str) -> None:
        """Gives a failed send up; one that has not failed stays as it is."""
        self._failed.pop(id, None)

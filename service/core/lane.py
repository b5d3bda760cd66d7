"""A lane: sends of one connection, accepted in order or refused. Pure."""


class Lane:
    """After a send fails with `unavailable`, every other is refused until the failed ones come again, in order.

    A send has its place from the moment it is admitted, and keeps it when it fails and comes again.
    """

    def __init__(self) -> None:
        self._failed: dict[str, int] = {}  # id → its place
        self._going: dict[str, int] = {}  # the same for those on their way
        self._repeats: set[str] = set()  # those of them that have failed before
        self._count = 0

    @property
    def failed(self) -> list[str]:
        """Ids that must come again, the next one first."""
        return sorted(self._failed, key=self._failed.__getitem__)

    def admits(self, id: str) -> bool:
        """Whether this send may go on now; if so, exactly one of `settle`, `fail` and `refuse` follows."""
        if id in self._failed:
            if self._failed[id] != min(self._failed.values()):
                return False
            self._going[id] = self._failed.pop(id)
            self._repeats.add(id)
            return True
        if self._failed:
            return False
        self._count += 1
        self._going.setdefault(id, self._count)
        return True

    def settle(self, id: str) -> None:
        """The send has its answer."""
        self._going.pop(id, None)
        self._repeats.discard(id)

    def fail(self, id: str) -> None:
        """The send's outcome is unknown."""
        self._count += 1
        place = self._going.pop(id, self._count)
        self._failed.setdefault(id, place)
        self._repeats.discard(id)

    def refuse(self, id: str) -> None:
        """The send was not tried, because one before it failed. What is unknown of an earlier try stays so."""
        if id in self._repeats:
            self.fail(id)
        self._going.pop(id, None)

    def skip(self, id: str) -> None:
        """Gives a failed send up; one that has not failed stays as it is."""
        self._failed.pop(id, None)

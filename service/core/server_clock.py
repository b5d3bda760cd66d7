"""The server's clock, as far as a worker knows it: it never goes back. Pure: the monotonic time is passed in.

A server that took over may lack the newest entries and have a clock that is behind. It would hand out again cursors
that a device may hold, in the same millisecond even, where its clock stands still at the last entry it kept: two
messages, one cursor, and the second one passed over. So no new entry may be older than what the clock before had
reached (decision 20).
"""

MOST_AHEAD = 24 * 3600 * 1000
"""ms. A clock that turns out to have been wrong by more than this binds nobody."""


class ServerClock:
    """Times in ms by the server's clock; `monotonic` in seconds."""

    def __init__(self) -> None:
        self._offset: float | None = None  # the server's clock minus the monotonic one
        self._reached = 0

    def read(self, now: int, monotonic: float) -> None:
        """The server said what time it is."""
        before = self.now(monotonic)
        if before > now:  # set back, or another server's
            self._reached = max(self._reached, before)
        if self._reached - now > MOST_AHEAD:
            self._reached = 0
        self._offset = now - monotonic * 1000

    def now(self, monotonic: float) -> int:
        """What the server's clock says now, or a little less; 0 before it was read."""
        return 0 if self._offset is None else int(monotonic * 1000 + self._offset)

    def least(self, monotonic: float) -> int:
        """What the next entry's `ms` must reach."""
        return max(self._reached, self.now(monotonic))

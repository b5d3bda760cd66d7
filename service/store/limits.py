"""What is kept of an inbox, and how much of it: for every call on it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept and refused; seconds and entries, as in `service.config.Settings`. `receipts`: they are made, and
    what was acked is kept for them.
    """

    max_pending: int
    history: int
    retention: float
    device_expiry: float
    dedupe_window: float
    devices: int = 100
    receipts: bool = False

    @property
    def kept(self) -> int:
        """Seconds an inbox lives after a touch: appends renew it only when the dedupe hashes turn, so a whole
        window is added to what was asked for.
        """
        return int(self.retention + self.dedupe_window) + 1

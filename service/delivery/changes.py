"""Changes: edits, deletions and reactions look for their target before they are committed like any send."""

from collections.abc import Callable, Sequence

from service.core.aiming import Aimed, aimed, looked_into, only_told
from service.core.errors import Fault, Unavailable
from service.core.lane import Lane
from service.core.sending import UNAVAILABLE, Appended, Message
from service.delivery.committer import Committer
from service.delivery.flights import Done
from service.store.locate import Locator
from service.telemetry import SENDS_UNAVAILABLE


class Changes:
    """What a change finds may be gone by the time it is appended: an edit may then stand behind the deletion of its
    target, and says nothing to anybody. `now_ms`: the server's clock.
    """

    def __init__(self, locator: Locator, committer: Committer, now_ms: Callable[[], int]) -> None:
        self._locator = locator
        self._committer = committer
        self._now_ms = now_ms

    async def submit(self, change: Message, done: Done, lane: Lane | None = None) -> None:
        """As the committer's, to users; returns once it is on its way, or answered. Whoever calls has waited for the
        answers to what went before in this lane: the target may be among it.
        """
        try:
            found = await self._aim(change)
        except Unavailable:
            SENDS_UNAVAILABLE.inc()
            if lane is not None:
                lane.fail(change.id)
            done(UNAVAILABLE)
            return
        if not found.message.to:
            if lane is not None:
                lane.settle(change.id)
            done(found.results([]))
            return

        def told(results: Sequence[Appended] | Fault) -> None:
            done(results if isinstance(results, Fault) else found.results(results))

        self._committer.submit(found.message, told, lane)

    async def _aim(self, change: Message) -> Aimed:
        """Raises Unavailable."""
        users = looked_into(change)
        inboxes = users + tuple(user for user in change.to if user not in users)
        sights, repeated = await self._locator.find(inboxes, change.target_from, change.target, change.identity)
        sights = {user: sights[user] for user in users if user in sights}
        blocking = await self._locator.blocking(only_told(change, sights, repeated), change.sender)
        return aimed(change, sights, repeated, self._now_ms(), blocking)

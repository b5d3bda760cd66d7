"""Changes: edits, deletions and reactions look for their target before they are committed like any send."""

from collections.abc import Callable

from service.core.aiming import Aimed, aimed, looked_into
from service.core.sending import Message
from service.store.locate import Locator


class Changes:
    """What a change finds may be gone by the time it is appended: an edit may then stand behind the deletion of its
    target, and says nothing to anybody. `now_ms`: the server's clock.
    """

    def __init__(self, locator: Locator, now_ms: Callable[[], int]) -> None:
        self._locator = locator
        self._now_ms = now_ms

    async def aim(self, change: Message) -> Aimed:
        """Whoever calls has waited for the answers to what was sent before: that may be the target. Raises
        Unavailable.
        """
        users = looked_into(change)
        inboxes = users + tuple(user for user in change.to if user not in users)
        sights, repeated = await self._locator.find(inboxes, change.target_from, change.target, change.identity)
        return aimed(change, {user: sights[user] for user in users if user in sights}, repeated, self._now_ms())

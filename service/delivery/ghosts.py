"""Ghosts: claims in this worker's name that none of its sessions holds.

A server that lost its newest writes may have lost a release among them. Nobody else would give such a claim back:
the worker it names is alive.
"""

import asyncio
import logging
from typing import Protocol

from service.delivery.hub import Hub
from service.store.presence import Claim, Presence

log = logging.getLogger("inboxd.ghosts")


class Host(Protocol):
    """What this needs of its worker."""

    @property
    def id(self) -> str: ...


class Ghosts:
    """`suspected`: the server was away, or is another one. Then the next two looks compare; what both of them find
    is released. One look alone might see a device that is just being let in, or on its way out.
    """

    def __init__(self, host: Host, presence: Presence, hub: Hub) -> None:
        self._host = host
        self._presence = presence
        self._hub = hub
        self._before: set[tuple[str, str, str]] | None = None
        self.suspected = False

    async def look(self) -> None:
        """Does nothing without suspicion. Raises Unavailable; the next look begins where this one did."""
        if not self.suspected and self._before is None:
            return
        worker = self._host.id
        noted = await self._presence.noted(worker)
        held = {(s.claim.user, s.claim.device, s.claim.session) for s in self._hub.all()}
        ghosts = noted - held
        found = ghosts & (self._before or set())
        await asyncio.gather(*(self._presence.release(Claim(user, device, worker, s)) for user, device, s in found))
        if found:
            log.warning(
                "released %d claims that nobody held: their release was lost with the server's tail", len(found)
            )
        self._before = ghosts if self.suspected else None
        self.suspected = False

"""A system that loses some messages, delivers some twice, and says that it has accepted them all."""

import os

from tests.scripts.bench.fake_peer import FakePeer


class CarelessPeer(FakePeer):
    """Of the messages it is to deliver it loses every `loses`th, and delivers every `repeats`th twice (0: none)."""

    name = "careless"
    pids: list[int] = [os.getpid()]  # noqa: RUF012 - as the protocol has it

    def __init__(self, *, loses: int = 0, repeats: int = 0) -> None:
        super().__init__(forgets=False)
        self.lost = 0
        self.repeated = 0
        self._loses = loses
        self._repeats = repeats
        self._seen: set[str] = set()

    def _deliver(self, user: str, *ids: str) -> None:
        writer = self._online.get(user)
        if writer is None or writer.is_closing():
            return
        for id in ids:
            again = id in self._seen
            self._seen.add(id)
            number = len(self._seen)
            if not again and self._loses and number % self._loses == 0:
                self.lost += 1
                self._kept[user].pop(id, None)
            super()._deliver(user, id)
            if not again and self._repeats and number % self._repeats == 0:
                self.repeated += 1
                super()._deliver(user, id)

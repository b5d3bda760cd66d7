"""Whose presence is watched: remembered, and said again on every connection, since the service forgets with each."""

from collections.abc import Callable, Iterable

from inboxd_client.errors import RequestError
from inboxd_client.frames import Frame
from inboxd_client.values import is_name

MOST_WATCHED = 200


class Watching:
    """`say(frame)`: to the connection that has had its `welcome`; lost where there is none."""

    def __init__(self, say: Callable[[Frame], None]) -> None:
        self._say = say
        self._users: dict[str, None] = {}  # in order

    @property
    def users(self) -> list[str]:
        """In the order they were asked for."""
        return list(self._users)

    def watch(self, users: Iterable[str]) -> None:
        """Raises RequestError `invalid_field`."""
        named = dict.fromkeys(users)
        if not all(map(is_name, named)):
            raise RequestError("invalid_field", "users: each 1 to 128 characters of A-Z a-z 0-9 . _ - @ : +")
        if len(self._users | named) > MOST_WATCHED:
            raise RequestError("invalid_field", f"up to {MOST_WATCHED} users are watched at a time")
        if named:
            self._users |= named
            self._say({"type": "watch", "users": list(named)})

    def unwatch(self, users: Iterable[str]) -> None:
        """Those who are not watched are passed over."""
        named = [user for user in dict.fromkeys(users) if user in self._users]
        for user in named:
            del self._users[user]
        if named:
            self._say({"type": "unwatch", "users": named})

    def connected(self) -> None:
        """`welcome` came."""
        if self._users:
            self._say({"type": "watch", "users": self.users})

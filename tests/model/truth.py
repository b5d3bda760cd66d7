"""The model: what was accepted, and so must be in whose inbox. It knows nothing of streams, workers or scripts."""

from dataclasses import dataclass, field

from service.core.entries import Kind
from service.core.sending import Message

Identity = tuple[str, str, str]
"""Kind, who, id: by this, clients drop repeats."""
GROUP = "team"


def identity(message: Message) -> Identity:
    return (message.kind, message.sender, message.id)


@dataclass(slots=True)
class Stay:
    """Numbers that a member gets: from `first`, up to and including `last` (None: it is still there)."""

    first: int
    last: int | None = None


@dataclass(slots=True)
class Truth:
    """`numbers`: what stands under each number of the group. `inboxes`: user → what must be in it, as far as it does
    not follow from the numbers; with the cursor where the sender was told one. `untold`:
    what the group's log had although its sender had no answer; its fan-out may be open still.
    """

    users: tuple[str, ...]
    inboxes: dict[str, dict[Identity, str | None]] = field(default_factory=dict)
    numbers: dict[int, Identity] = field(default_factory=dict)
    stays: dict[str, list[Stay]] = field(default_factory=dict)
    deleted: set[Identity] = field(default_factory=set)
    messages: dict[Identity, Message] = field(default_factory=dict)
    reads: dict[str, set[Identity]] = field(default_factory=dict)
    untold: set[Identity] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.inboxes = {user: {} for user in self.users}
        self.stays = {user: [] for user in self.users}
        self.reads = {user: set() for user in self.users}

    # What was told.

    def accepted(self, message: Message, cursors: dict[str, str]) -> None:
        """To users, with the cursor of each recipient's entry. All have a device, so all have their own copies."""
        for user in (*cursors, message.sender):
            self.inboxes[user].setdefault(identity(message), cursors.get(user))
        self._note(message)

    def numbered(self, message: Message, number: int) -> None:
        """Into the group."""
        known = self.numbers.setdefault(number, identity(message))
        assert known == identity(message), f"number {number} was given to {known} and to {identity(message)}"
        self._note(message)

    def event(self, *joined: str, left: str | None = None) -> None:
        """Somebody came or went: the next number, which they still get, or get already."""
        number = self.last + 1
        self.numbers[number] = ("group", GROUP, f"{GROUP}:{number}")
        for user in joined:
            self.stays[user].append(Stay(number))
        if left is not None:
            self.stays[left][-1].last = number

    def read(self, user: str, message: Message) -> None:
        self.reads[user].add(identity(message))

    def _note(self, message: Message) -> None:
        self.messages[identity(message)] = message
        if message.kind is Kind.DELETE:
            self.deleted.add((Kind.MESSAGE, message.target_from, message.target))

    # What follows.

    @property
    def last(self) -> int:
        return max(self.numbers, default=0)

    @property
    def members(self) -> list[str]:
        return [user for user in self.users if self.stays[user] and self.stays[user][-1].last is None]

    def numbers_of(self, user: str) -> list[int]:
        """The numbers of the group that are this user's, in order: nothing from before joining or after leaving."""
        return [
            number
            for number in sorted(self.numbers)
            if any(stay.first <= number <= (stay.last or number) for stay in self.stays[user])
        ]

    def expected(self, user: str) -> set[Identity]:
        return set(self.inboxes[user]) | {self.numbers[number] for number in self.numbers_of(user)}

    @property
    def overtaken(self) -> set[Identity]:
        """Deleted, maybe before its fan-out was ended: who did not have it gets nothing but the deletion."""
        return self.untold & self.deleted

    def said(self, sender: str | None = None, *, grouped: bool) -> list[Message]:
        """Messages that can be changed: sent by this user, and not deleted."""
        return [
            message
            for found, message in self.messages.items()
            if message.kind is Kind.MESSAGE
            and found not in self.deleted
            and sender in (None, message.sender)
            and grouped == (not message.to)
        ]

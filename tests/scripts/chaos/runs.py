"""Made-up histories: a fair run of one sender and one device, and random fair ones."""

import random

from scripts.chaos.cursors import START, Cursor
from scripts.chaos.history import Closing, Ended, Hello, History, Kept, Live, Welcome

BOB = ("bob", "phone")


def frame(number: int, message_id: str | None = None, sender: str = "alice") -> dict[str, object]:
    return {"cursor": f"{1000 + number}-{number}", "from": sender, "id": message_id or f"m{number}", "body": number}


def at(number: int) -> Cursor:
    return Cursor(1000 + number, number) if number else START


def sent(history: History, count: int = 5) -> None:
    """Alice sends so many messages to Bob, all accepted."""
    for number in range(1, count + 1):
        history.attempted("alice", f"m{number}", number, ["bob"])
        history.accepted("alice", f"m{number}", "bob", str(at(number)))


def hello(history: History, session: str, start: int, asked: int | None = None, attempt: int | None = None) -> None:
    cursor = None if asked is None else at(asked)
    history.note(Hello(history.clock(), *BOB, session, cursor, attempt))
    history.note(Welcome(history.clock(), *BOB, session, at(start), "w-1"))


def got(history: History, session: str, *numbers: int) -> None:
    for number in numbers:
        history.delivered(*BOB, frame(number), session)


def acked(history: History, session: str, number: int, stored: bool = False) -> None:
    history.acked(*BOB, at(number), session, stored)


def gap(history: History, session: str, after: int, upto: int, reason: str = "trimmed") -> None:
    history.gap(*BOB, {"after": str(at(after)), "cursor": str(at(upto)), "reason": reason}, session)


def live(history: History, session: str, number: int) -> None:
    history.note(Live(history.clock(), *BOB, session, at(number)))


def ended(history: History, session: str, code: int) -> None:
    history.note(Ended(history.clock(), *BOB, session, code))


def kept(history: History, *numbers: int) -> None:
    for number in numbers:
        history.note(Kept(history.clock(), "alice", f"m{number}", "bob", at(number)))


class Fair:
    """A service that does everything right, with faults all around: lost answers, ended connections, late acks."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.history = History(lambda: self.now)
        self.inbox: list[tuple[Cursor, str, str]] = []
        self.stored = {"phone": START, "laptop": START}
        self.acked = dict(self.stored)
        self.position: dict[str, Cursor] = {}
        self.session = dict.fromkeys(self.stored, "")
        self.attempt = 0
        self.waiting: dict[str, str] = {}  # sender → the id whose answer it lost
        self.numbers = {"alice": 0, "carol": 0}

    def run(self, steps: int) -> History:
        for _ in range(steps):
            self.now += self.rng.random()
            self.rng.choice((self.send, self.send, self.connect, self.deliver, self.deliver, self.ack, self.leave))()
        for device in self.stored:
            self.leave_as(device)
            self.connect_as(device)
            while self.deliver_to(device):
                pass
        for cursor, sender, message_id in self.inbox:
            self.history.note(Kept(self.now, sender, message_id, "bob", cursor))
        return self.history

    def send(self) -> None:
        sender = self.rng.choice(("alice", "carol"))
        if sender not in self.waiting:
            self.numbers[sender] += 1
        message_id = self.waiting.pop(sender, f"m{self.numbers[sender]}")
        self.history.attempted(sender, message_id, message_id, ["bob"])
        if self.rng.random() < 0.2:
            self.history.refused(sender, message_id, "unavailable")
            self.waiting[sender] = message_id
            if self.rng.random() < 0.5:
                return
        known = next((c for c, *identity in self.inbox if identity == [sender, message_id]), None)
        if known is None:
            before = self.inbox[-1][0] if self.inbox else START
            known = Cursor(before.ms + self.rng.randrange(3), before.seq + 1)
            self.inbox.append((known, sender, message_id))
        if sender not in self.waiting and self.rng.random() < 0.8:
            self.history.accepted(sender, message_id, "bob", str(known))
        else:
            self.waiting[sender] = message_id

    def connect(self) -> None:
        self.connect_as(self.rng.choice(("phone", "laptop")))

    def connect_as(self, device: str) -> None:
        if device in self.position:
            self.history.note(Ended(self.now, "bob", device, self.session[device], 4509))
        self.attempt += 1
        self.session[device] = f"{device}#{self.attempt}"
        asked = self.acked[device] if self.rng.random() < 0.4 else None
        if self.rng.random() < 0.5:  # acks reach the store late, or with the connection never
            self.stored[device] = self.acked[device]
        start = self.stored[device] if asked is None else asked
        self.history.note(Hello(self.now, "bob", device, self.session[device], asked, self.attempt))
        if device in self.position:  # the successor's hello comes first
            last = self.history.records.pop()
            self.history.records.insert(-1, last)
        self.history.note(Welcome(self.now, "bob", device, self.session[device], start, "w-1"))
        self.position[device] = start

    def deliver(self) -> None:
        self.deliver_to(self.rng.choice(("phone", "laptop")))

    def deliver_to(self, device: str) -> bool:
        if device not in self.position or self.position[device].seq >= len(self.inbox):
            return False
        cursor, sender, message_id = self.inbox[self.position[device].seq]
        content = {"cursor": str(cursor), "from": sender, "id": message_id, "body": message_id}
        self.history.delivered("bob", device, content, self.session[device])
        self.position[device] = cursor
        return True

    def ack(self) -> None:
        device = self.rng.choice(("phone", "laptop"))
        if device in self.position:
            self.acked[device] = max(self.acked[device], self.position[device])
            self.history.acked("bob", device, self.position[device], self.session[device])

    def leave(self) -> None:
        self.leave_as(self.rng.choice(("phone", "laptop")))

    def leave_as(self, device: str) -> None:
        if self.position.pop(device, None) is not None:
            code = self.rng.choice((0, 1006, 1012, 4001))
            if code == 1012:
                self.history.note(Closing(self.now, "bob", device, self.session[device], 0.1))
            self.history.note(Ended(self.now, "bob", device, self.session[device], code))

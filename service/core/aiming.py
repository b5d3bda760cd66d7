"""What an edit, deletion or reaction is aimed at: whether its target is known where it goes, and what it erases. Pure.

A message lies in its recipients' inboxes, and as own copy, which names all of them, in its sender's. It counts as known
to a recipient if either says so: entries are trimmed, and own copies left out.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from service.core.cursor import Cursor
from service.core.entries import Kind
from service.core.erased import erased_row
from service.core.sending import Appended, AppendStatus, Message


@dataclass(frozen=True, slots=True)
class Sight:
    """A message as one inbox knows it. `to`: the users named there; `row`: of `chat:erased`, once it is deleted, "" if
    it is already; `expires`: when it does (ms), or None.
    """

    to: tuple[str, ...]
    row: str = ""
    expires: int | None = None

    @property
    def deleted(self) -> bool:
        return not self.row


def sight_of(cursor: Cursor, fields: Mapping[bytes, bytes], *, deleted: bool = False) -> Sight:
    """From the message's stream fields. Raises KeyError, ValueError for what is no message of ours."""
    expires = fields.get(b"expires")
    to = tuple(fields[b"to"].decode("ascii").split(","))
    return Sight(to, "" if deleted else erased_row(cursor, fields), None if expires is None else int(expires))


def looked_into(change: Message) -> tuple[str, ...]:
    """The inboxes that may know its target."""
    users = change.to if change.target_from == change.sender else (change.sender,)
    return users if change.target_from in users else (*users, change.target_from)


@dataclass(frozen=True, slots=True)
class Aimed:
    """`message`: for those of the recipients who know its target (`to` may be empty); `known`: which ones, of all;
    `refused`: those of them who would, but have blocked the sender.
    """

    message: Message
    known: tuple[bool, ...]
    refused: tuple[bool, ...]

    def results(self, results: Sequence[Appended]) -> list[Appended]:
        """For every recipient asked for, from those of `message`."""
        found = iter(results)
        return [
            next(found) if known else Appended(AppendStatus.REFUSED if refused else AppendStatus.UNKNOWN)
            for known, refused in zip(self.known, self.refused, strict=True)
        ]


def only_told(change: Message, sights: Mapping[str, Sight], repeated: Collection[str]) -> tuple[str, ...]:
    """Recipients of a deletion that erases nothing in their inboxes: whom they have blocked says nothing to them."""
    if change.kind is not Kind.DELETE:
        return ()
    return tuple(user for user in change.to if user not in repeated and not (user in sights and sights[user].row))


def aimed(
    change: Message,
    sights: Mapping[str, Sight],
    repeated: Collection[str],
    now_ms: int,
    blocking: Collection[str] = (),
) -> Aimed:
    """`sights`: user → what that inbox knows of the target; `repeated`: who has this very change already: it is
    answered as before, whatever became of its target. `blocking`: of those who are only told, who do not want to be.
    """
    knowing = tuple(user in repeated or _knows(change, user, sights) for user in change.to)
    refused = tuple(knows and user in blocking for user, knows in zip(change.to, knowing, strict=True))
    known = tuple(knows and not no for knows, no in zip(knowing, refused, strict=True))
    to = tuple(user for user, knows in zip(change.to, known, strict=True) if knows)
    erases: tuple[tuple[str, str], ...] = ()
    if change.kind is Kind.DELETE and to:
        inboxes = to if change.sender in to else (*to, change.sender)
        erases = tuple((user, sights[user].row) for user in inboxes if user in sights and sights[user].row)
    expires_in = _expires_in(change, sights, now_ms)
    return Aimed(replace(change, to=to, erases=erases, expires_in=expires_in), known, refused)


def _knows(change: Message, user: str, sights: Mapping[str, Sight]) -> bool:
    """A reaction to another's message goes to whom it came from. Who else may have got it is not told."""
    own = change.target_from == change.sender
    if not own and user != change.target_from:
        return False
    recipient = user if own else change.sender
    found = [sights[name] for name in (recipient, change.target_from) if name in sights]
    found = [sight for sight in found if recipient in sight.to]
    if change.kind is Kind.DELETE:  # again where something of it is left: it may not have got everywhere
        return not all(sight.deleted for sight in found)
    return bool(found) and not any(sight.deleted for sight in found)


def _expires_in(change: Message, sights: Mapping[str, Sight], now_ms: int) -> int:
    """What is said of a message that expires is gone with it; in whole seconds, as of any message."""
    due = [sight.expires for sight in sights.values() if sight.expires is not None]
    if change.kind is Kind.DELETE or not due:
        return 0
    return max(1, -((now_ms - min(due)) // 1000))

"""Reads: what a user says to have read. The sender is told, the user's other devices are, and it is marked.

In this order: the receipt, the mark, the user's own `read` entry. A client says it again until it has seen that entry;
doing all of it twice does no harm, so whatever a crash leaves out is made good then.
"""

from service.core.entries import Fields, Kind
from service.core.errors import ClientError, Unavailable
from service.core.frames import ReadUpto
from service.core.sending import AppendStatus
from service.delivery.receipter import Tell, receipt
from service.store.appends import Appends, Note
from service.store.marks import Marks, Moved, was_read, was_read_in


class Reads:
    """`receipts`: whether senders are told."""

    def __init__(self, marks: Marks, appends: Appends, tell: Tell, receipts: bool) -> None:
        self._marks = marks
        self._appends = appends
        self._tell = tell
        self._receipts = receipts

    async def take(self, user: str, read: ReadUpto) -> None:
        """Returns once it is stored. Raises ClientError `no_such_message`, `no_such_group`; Unavailable: it may be,
        and may be said again.
        """
        if read.group is not None:
            assert isinstance(read.upto, int)  # as the model wants it
            await self._of_group(user, read.group, read.upto)
        else:
            assert read.sender is not None
            await self._of_user(user, read.sender, str(read.upto))

    async def _of_user(self, user: str, sender: str, id: str) -> None:
        found = await self._marks.find(user, sender, id)
        if found is None:
            raise ClientError("no_such_message", "upto: no message of this id from there is known here", "upto")
        if self._receipts and found.wanted and sender != user:
            await self._note(receipt("read", user, sender, found.wanted))
        if await self._marks.move(user, was_read(sender), id, found.cursor) is not Moved.OLDER:
            fields: Fields = ["kind", Kind.READ, "id", f"read:{id}", "from", sender, "upto", id]
            await self._note(Note(user, f"read/user/{sender}/{id}", fields))

    async def _of_group(self, user: str, group: str, number: int) -> None:
        newest = await self._marks.newest_of_group(user, group)
        if newest is None:
            raise ClientError("no_such_group", "group: none of this name has you as a member", "group")
        if number > newest:
            raise ClientError("no_such_message", "upto: the group has no such number here yet", "upto")
        if await self._marks.move(user, was_read_in(group), str(number)) is not Moved.OLDER:
            fields: Fields = ["kind", Kind.READ, "id", f"read:{group}:{number}", "group", group, "upto", str(number)]
            await self._note(Note(user, f"read/group/{group}/{number}", fields))

    async def _note(self, note: Note) -> None:
        [result] = await self._appends.note([note])
        if isinstance(result, Unavailable):
            raise result
        if result.status is AppendStatus.APPENDED:
            self._tell(note.user, note.fields, result)

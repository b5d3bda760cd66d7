"""What the application may do within a transaction."""

from collections.abc import Sequence
from typing import Any

from inboxd_client import drafts
from inboxd_client.drafts import Target
from inboxd_client.engine import Engine
from inboxd_client.outbox import ItemKind, OutboxItem
from inboxd_client.storage import Transaction


class Handling:
    """One transaction with the entry's being handled: all of it happens, or none, even if the process is killed.

    What goes into the outbox here goes out after the commit; the answers are ids. Each raises SendError as the method
    of InboxClient does before it waits.
    """

    def __init__(self, transaction: Transaction, engine: Engine) -> None:
        self._transaction, self._engine = transaction, engine

    async def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """One SQL statement on the application's own tables; its rows. Raises sqlite3.Error.

        Tables named `inboxd_…` are the client's. BEGIN, COMMIT and ROLLBACK are not for here.
        """
        return await self._transaction.execute(sql, parameters)

    async def send(
        self,
        to: str | Sequence[str],
        body: Any,
        *,
        id: str | None = None,
        expires_in: int | None = None,
        receipts: bool = True,
    ) -> str:
        """Puts a message into the outbox with this transaction; its id."""
        return await self._put(drafts.of_message(to, None, body, id, expires_in, receipts))

    async def send_to_group(
        self, group: str, body: Any, *, id: str | None = None, expires_in: int | None = None, receipts: bool = True
    ) -> str:
        """As `send`."""
        return await self._put(drafts.of_message(None, group, body, id, expires_in, receipts))

    async def edit(self, message: Target, body: Any, *, id: str | None = None) -> str:
        """As InboxClient.edit."""
        return await self._change(ItemKind.EDIT, message, body, id)

    async def delete(self, message: Target, *, id: str | None = None) -> str:
        """As InboxClient.delete."""
        return await self._change(ItemKind.DELETE, message, None, id)

    async def react(self, message: Target, body: Any, *, id: str | None = None) -> str:
        """As InboxClient.react."""
        return await self._change(ItemKind.REACT, message, body, id)

    async def read(self, message: Target) -> None:
        """As InboxClient.read; said after the commit."""
        self._engine.reading.read_within(self._transaction, drafts.frame_of(message), self._engine.options.user)

    async def _change(self, kind: ItemKind, message: Target, body: Any, id: str | None) -> str:
        return await self._put(drafts.of_change(kind, message, body, id, self._engine.options.user))

    async def _put(self, draft: OutboxItem) -> str:
        return await self._engine.sending.send_within(self._transaction, draft)

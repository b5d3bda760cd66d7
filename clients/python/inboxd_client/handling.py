"""What the application may do within a transaction."""

from collections.abc import Sequence
from typing import Any

from inboxd_client.sending import Sending
from inboxd_client.storage import Transaction


class Handling:
    """One transaction with the message's being handled: all of it happens, or none, even if the process is killed."""

    def __init__(self, transaction: Transaction, sending: Sending) -> None:
        self._transaction, self._sending = transaction, sending

    async def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """One SQL statement on the application's own tables; its rows. Raises sqlite3.Error.

        Tables named `inboxd_…` are the client's. BEGIN, COMMIT and ROLLBACK are not for here.
        """
        return await self._transaction.execute(sql, parameters)

    async def send(
        self, to: str | Sequence[str], body: Any, *, id: str | None = None, expires_in: int | None = None
    ) -> str:
        """Puts a message into the outbox with this transaction; its id. It goes out after the commit.

        Raises SendError as `InboxClient.send` does before it waits.
        """
        return await self._sending.send_within(self._transaction, to, body, id, expires_in)

"""The SQLite file: cursor, identities, outbox. Synchronous; one thread at a time uses it.

Write-ahead log with `synchronous=FULL`: what was committed survives a kill and a power cut. The tables' names begin
with `inboxd_`; all others in the file are the application's.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from inboxd_client.errors import StorageError
from inboxd_client.inbox import IDENTITIES_KEPT
from inboxd_client.outbox import ItemKind, ItemState, OutboxItem

SCHEMA = 2
"""2: `more` of an item."""

TABLES = """
CREATE TABLE IF NOT EXISTS inboxd_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inboxd_seen (number INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS inboxd_outbox (
  id TEXT PRIMARY KEY, "order" INTEGER NOT NULL, recipients TEXT NOT NULL, body TEXT NOT NULL, expires_in INTEGER,
  created_at INTEGER NOT NULL, tried_at INTEGER, state TEXT NOT NULL, error TEXT, more TEXT
);
"""

Statement = tuple[str, Sequence[Any]]
"""SQL and its parameters."""


def translated(fault: sqlite3.Error) -> StorageError:
    """What SQLite says, in the words of this package."""
    text = str(fault)
    name = getattr(fault, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StorageError("locked", f"the database is in use elsewhere: {text}")
    if name.startswith("SQLITE_READONLY"):
        return StorageError("read_only", f"the database cannot be written: {text}")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return StorageError("corrupt", f"the database is damaged, or no database: {text}")
    return StorageError("unusable", f"the database cannot be used: {text}")


class Database:
    """Open until `close`. `path`: None for one in memory, which is gone with the process.

    Raises StorageError, from every method.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = None if path is None else locked(path)
        try:
            self.connection = sqlite3.connect(
                ":memory:" if path is None else path, timeout=5.0, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self.connection.close()
                raise
        except sqlite3.Error as fault:
            self._unlock()
            raise translated(fault) from fault
        except StorageError:
            self._unlock()
            raise

    def _prepare(self) -> None:
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("BEGIN IMMEDIATE")
        for statement in TABLES.split(";"):
            self.connection.execute(statement)
        schema = int(self.meta("schema") or SCHEMA)
        if schema > SCHEMA:
            raise StorageError("newer", f"the database was written by a newer version (schema {schema})")
        columns = {row[1] for row in self.connection.execute("PRAGMA table_info(inboxd_outbox)")}
        if "more" not in columns:  # of schema 1
            self.connection.execute("ALTER TABLE inboxd_outbox ADD COLUMN more TEXT")
        self.connection.execute(*set_meta("schema", str(SCHEMA)))  # also shows that it can be written
        self.connection.execute("COMMIT")

    def meta(self, name: str) -> str | None:
        """A value kept under a name."""
        row = self.connection.execute("SELECT value FROM inboxd_meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def load(self) -> tuple[dict[str, str], list[str], list[OutboxItem]]:
        """Values by name (`attempt`, `cursor`, `device`, `user`, `read/…`), identities oldest first, the outbox."""
        try:
            values = dict(self.connection.execute("SELECT name, value FROM inboxd_meta"))
            seen = [row[0] for row in self.connection.execute("SELECT identity FROM inboxd_seen ORDER BY number")]
            rows = self.connection.execute(
                'SELECT id, recipients, body, expires_in, "order", created_at, tried_at, state, error, more'
                " FROM inboxd_outbox"
            )
            return values, seen, [as_item(row) for row in rows]
        except sqlite3.Error as fault:
            raise translated(fault) from fault
        except ValueError as fault:
            raise StorageError("corrupt", f"the outbox cannot be read: {fault}") from fault

    def write(self, statements: Iterable[Statement]) -> None:
        """All of them, or none; on disk when it returns."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            for sql, parameters in statements:
                self.connection.execute(sql, parameters)
            self.connection.execute("COMMIT")
        except sqlite3.Error as fault:
            self.roll_back()
            raise translated(fault) from fault

    def begin(self) -> None:
        """A transaction that `write` is not part of."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as fault:
            raise translated(fault) from fault

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """The rows that one statement gives. The application's own faults are sqlite3's errors."""
        return self.connection.execute(sql, parameters).fetchall()

    def commit(self, statements: Iterable[Statement]) -> None:
        """Ends the transaction with these."""
        if not self.connection.in_transaction:
            raise StorageError("unusable", "the transaction was ended from inside")
        try:
            for sql, parameters in statements:
                self.connection.execute(sql, parameters)
            self.connection.execute("COMMIT")
        except sqlite3.Error as fault:
            self.roll_back()
            raise translated(fault) from fault

    def roll_back(self) -> None:
        """Where a transaction is open."""
        if self.connection.in_transaction:
            with suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")

    def close(self) -> None:
        """Lets others have it."""
        self.roll_back()
        self.connection.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()


def locked(path: Path) -> sqlite3.Connection:
    """Holds `<path>-lock` until closed, or until the process ends, however that happens.

    A file of its own, so that others may read the database meanwhile; an SQLite file, because SQLite knows how to lock
    on every platform.
    """
    holder = None
    try:
        holder = sqlite3.connect(f"{path}-lock", timeout=0.0, isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as fault:
        if holder is not None:
            holder.close()
        found = translated(fault)
        if found.code == "locked":
            raise StorageError("locked", f"{path} is in use by another client, perhaps in another process") from fault
        raise found from fault
    return holder


# Statements


def set_meta(name: str, value: str) -> Statement:
    """Keeps a value under a name."""
    return "INSERT OR REPLACE INTO inboxd_meta (name, value) VALUES (?, ?)", (name, value)


def change_meta(name: str, before: str | None, value: str) -> Statement:
    """Only where it is still as it was; None: nothing was there. What came meanwhile is newer, and stays."""
    if before is None:
        return "INSERT OR IGNORE INTO inboxd_meta (name, value) VALUES (?, ?)", (name, value)
    return "UPDATE inboxd_meta SET value = ? WHERE name = ? AND value = ?", (value, name, before)


def handled(cursor: str, identity: str | None) -> list[Statement]:
    """An entry was handled: both or neither."""
    statements = [set_meta("cursor", cursor)]
    if identity is not None:
        statements.append(("INSERT INTO inboxd_seen (identity) VALUES (?)", (identity,)))
        oldest = "DELETE FROM inboxd_seen WHERE number <= (SELECT max(number) FROM inboxd_seen) - ?"
        statements.append((oldest, (IDENTITIES_KEPT,)))
    return statements


def put_item(item: OutboxItem) -> Statement:
    """A new item, or the new state of one."""
    error = None if item.error is None else json.dumps(item.error)
    state = ItemState.QUEUED if item.state is ItemState.SENT else item.state
    row = (
        item.id, json.dumps(item.to), item.body_text, item.expires_in, item.order, item.created_at, item.tried_at,
        state.value, error, more_of(item),
    )  # fmt: skip
    return (
        'INSERT OR REPLACE INTO inboxd_outbox (id, recipients, body, expires_in, "order", created_at, tried_at,'
        " state, error, more) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ), row


def more_of(item: OutboxItem) -> str | None:
    """What only changes and sends to groups have, and who wants no receipts; None for a plain send."""
    fields = {"kind": item.kind.value, "group": item.group, "target": item.target, "target_from": item.target_from}
    plain = (item.kind, item.group, item.receipts) == (ItemKind.SEND, None, True)
    return None if plain else json.dumps({**fields, "receipts": item.receipts})


def tried_item(item: OutboxItem) -> Statement:
    """Its first try is about to be made."""
    return "UPDATE inboxd_outbox SET tried_at = ? WHERE id = ?", (item.tried_at, item.id)


def delete_item(id: str) -> Statement:
    """It is over."""
    return "DELETE FROM inboxd_outbox WHERE id = ?", (id,)


def as_item(row: tuple[Any, ...]) -> OutboxItem:
    """Raises ValueError."""
    id, to, body, expires_in, order, created_at, tried_at, state, error, more = row
    fields = {} if more is None else json.loads(more)
    return OutboxItem(
        id, json.loads(to), body, expires_in, order, created_at, tried_at, ItemState(state),
        None if error is None else json.loads(error), **{**fields, "kind": ItemKind(fields.get("kind", "send"))},
    )  # fmt: skip

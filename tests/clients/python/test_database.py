"""The SQLite file: what is written is there, and what cannot be used is told plainly."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from inboxd_client.database import (
    Database,
    Statement,
    change_meta,
    delete_item,
    handled,
    put_item,
    set_meta,
    tried_item,
)
from inboxd_client.errors import StorageError
from inboxd_client.outbox import ItemKind, ItemState, OutboxItem
from inboxd_client.storage import Storage

ITEM = OutboxItem("a", ["bob", "carol"], '{"t":"é"}', 5, 3, 1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inbox.sqlite3"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[Storage]:
    storage = Storage(path)
    await storage.open()
    yield storage
    await storage.close()


def test_what_was_written_is_there_the_next_time(path: Path) -> None:
    first = Database(path)
    first.write([set_meta("attempt", "4"), *handled("1-1", "message/a/1"), *handled("1-2", None), put_item(ITEM)])
    first.write([tried_item(replace(ITEM, tried_at=2000))])
    failed = OutboxItem("b", "bob", "null", None, 4, 1000, 1001, ItemState.FAILED, {"code": "x", "message": "y"})
    first.write([put_item(failed), put_item(replace(failed, id="c")), delete_item("c")])
    first.close()
    second = Database(path)
    values, seen, items = second.load()
    second.close()
    assert (values["attempt"], values["cursor"], seen) == ("4", "1-2", ["message/a/1"])
    assert items == [replace(ITEM, tried_at=2000), failed]


def test_it_is_a_write_ahead_log_that_is_flushed_at_every_commit(path: Path) -> None:
    database = Database(path)
    assert database.execute("PRAGMA journal_mode") == [("wal",)]
    assert database.execute("PRAGMA synchronous") == [(2,)]
    database.close()


def test_only_the_newest_identities_stay_on_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inboxd_client.database.IDENTITIES_KEPT", 3)
    database = Database(path)
    for number in range(5):
        database.write(handled(f"1-{number}", f"message/a/{number}"))
    assert database.load()[1] == ["message/a/2", "message/a/3", "message/a/4"]
    database.close()


def test_a_second_client_is_told_that_the_file_is_in_use(path: Path) -> None:
    database = Database(path)
    for _ in range(2):
        with pytest.raises(StorageError, match="in use by another client") as caught:
            Database(path)
        assert caught.value.code == "locked"
    with sqlite3.connect(path) as reader:  # others may read
        assert reader.execute("SELECT value FROM inboxd_meta WHERE name = 'schema'").fetchone() == ("2",)
    reader.close()
    database.close()
    Database(path).close()


def test_a_killed_process_leaves_its_commits_and_no_lock(path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from inboxd_client.database import Database, handled\n"
        "database = Database(Path(sys.argv[1])); database.write(handled('1-1', 'message/a/1'))\n"
        "database.begin(); database.execute('CREATE TABLE half (x)'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    folder = Path(__file__).parents[3] / "clients/python"
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=folder, check=False)
    assert done.returncode == -signal.SIGKILL
    database = Database(path)
    values, seen, _ = database.load()
    assert (values["cursor"], seen) == ("1-1", ["message/a/1"])
    assert database.execute("SELECT * FROM sqlite_master WHERE name = 'half'") == []
    database.close()


def test_a_file_that_is_no_database_is_told_and_left_alone(path: Path) -> None:
    path.write_bytes(b"not a database, but somebody's letter\n" * 100)
    with pytest.raises(StorageError) as caught:
        Database(path)
    assert caught.value.code == "corrupt"
    assert path.read_bytes().startswith(b"not a database")


def test_a_damaged_outbox_is_told(path: Path) -> None:
    database = Database(path)
    database.write([put_item(replace(ITEM, body_text="{")), put_item(ITEM)])
    database.execute("UPDATE inboxd_outbox SET recipients = 'nonsense'")
    with pytest.raises(StorageError) as caught:
        database.load()
    assert caught.value.code == "corrupt"
    database.close()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        Database(tmp_path / "nowhere" / "file")
    assert caught.value.code == "unusable"


def test_a_database_that_cannot_be_written_is_told(path: Path) -> None:
    database = Database(path)
    database.execute("PRAGMA query_only = 1")
    with pytest.raises(StorageError) as caught:
        database.write([set_meta("a", "b")])
    assert caught.value.code == "read_only"
    database.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_file_is_told(path: Path) -> None:
    Database(path).close()
    path.chmod(0o400)
    with pytest.raises(StorageError) as caught:
        Database(path)
    assert caught.value.code == "read_only"


def test_a_newer_schema_is_not_touched(path: Path) -> None:
    database = Database(path)
    database.write([set_meta("schema", "3")])
    database.close()
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            Database(path)
        assert caught.value.code == "newer"


def test_a_file_of_the_first_schema_is_taken_over(path: Path) -> None:
    Database(path).close()
    old = sqlite3.connect(path)
    old.execute("ALTER TABLE inboxd_outbox DROP COLUMN more")
    old.execute("UPDATE inboxd_meta SET value = '1' WHERE name = 'schema'")
    old.execute("INSERT INTO inboxd_outbox VALUES ('a', 1, '\"bob\"', '1', NULL, 5, NULL, 'queued', NULL)")
    old.commit()
    old.close()
    for _ in range(2):
        database = Database(path)
        assert database.load()[2] == [OutboxItem("a", "bob", "1", None, 1, 5)]
        database.close()


CHANGES = (
    OutboxItem("b", None, "1", order=2, group="team", receipts=False),
    OutboxItem("c", "bob", "2", order=3, kind=ItemKind.REACT, target="m", target_from="bob"),
    OutboxItem("d", None, "null", order=4, group="team", kind=ItemKind.DELETE, target="m"),
)


def test_groups_and_changes_are_kept_with_all_their_fields(path: Path) -> None:
    database = Database(path)
    database.write([put_item(item) for item in CHANGES])
    assert database.load()[2] == list(CHANGES)
    database.close()


def test_a_value_that_has_changed_meanwhile_stays(path: Path) -> None:
    database = Database(path)
    for name, before, after in (("a", None, "1"), ("a", None, "2"), ("a", "1", "3"), ("a", "1", "4")):
        database.write([change_meta(name, before, after)])
    assert database.meta("a") == "3"
    database.close()


# The thread around it


async def test_writes_that_come_together_share_a_transaction(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    database = storage._open_one
    batches: list[int] = []
    write = database.write

    def counting(statements: list[Statement]) -> None:
        batches.append(len(statements))
        write(statements)

    monkeypatch.setattr(database, "write", counting)
    await asyncio.gather(*(storage.write([set_meta(f"n-{number}", "1")]) for number in range(20)))
    assert sum(batches) == 20
    assert len(batches) <= 2


async def test_a_write_whose_caller_was_cancelled_is_written_all_the_same(storage: Storage) -> None:
    task = asyncio.create_task(storage.write([set_meta("kept", "1")]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await storage.write([])
    assert storage._open_one.meta("kept") == "1"


async def test_a_transaction_left_with_an_exception_never_happened(storage: Storage) -> None:
    given_up: list[bool] = []
    with pytest.raises(KeyError):  # noqa: PT012 - the whole block is what is left
        async with storage.transaction() as transaction:
            transaction.on_failure(lambda: given_up.append(True))
            await transaction.execute("CREATE TABLE mine (x)")
            raise KeyError
    await storage.write([set_meta("after", "1")])
    async with storage.transaction() as transaction:
        assert await transaction.execute("SELECT * FROM sqlite_master WHERE name = 'mine'") == []
    assert given_up == [True]


async def test_writes_wait_for_a_transaction_and_are_no_part_of_it(storage: Storage) -> None:
    with pytest.raises(KeyError):  # noqa: PT012 - as above
        async with storage.transaction():
            outside = asyncio.create_task(storage.write([set_meta("outside", "1")]))
            await asyncio.sleep(0)
            raise KeyError
    await outside
    assert storage._open_one.meta("outside") == "1"


@pytest.mark.parametrize("turns", range(6))
async def test_a_transaction_cancelled_anywhere_is_whole_or_nothing(storage: Storage, turns: int) -> None:
    told: list[str] = []

    async def work() -> None:
        async with storage.transaction() as transaction:
            transaction.on_commit(lambda: told.append("commit"))
            transaction.on_failure(lambda: told.append("failure"))
            transaction.add([set_meta("one", "1"), set_meta("two", "2")])

    task = asyncio.create_task(work())
    for _ in range(turns * turns):
        await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    await storage.write([set_meta("after", "1")])
    written = storage._open_one.meta("one") is not None
    assert (storage._open_one.meta("two") is not None) == written
    assert told == (["commit"] if written else told and ["failure"])


async def test_a_transaction_that_the_application_ended_itself_is_told(storage: Storage) -> None:
    with pytest.raises(StorageError, match="ended from inside"):
        async with storage.transaction() as transaction:
            await transaction.execute("COMMIT")


async def test_waiting_for_oneself_is_refused(storage: Storage) -> None:
    async with storage.transaction():
        with pytest.raises(RuntimeError):
            async with storage.transaction():
                pass

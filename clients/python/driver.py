"""One client, driven by JSON lines on stdin and telling of itself by JSON lines on stdout; for tests.

With `--transactional` the log is the table `log (number, message)` of the client's own database, written by
`handling()`; the command `log` tells what stands in it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from inboxd_client import InboxClient, InboxError, Message, OutboxItem, StateChange, Timing

Entry = Message | dict[str, Any]

DATABASE = "inboxd.sqlite3"
HANDLED = ("message", "receipt", "read", "edit", "delete", "react", "group", "deleted")
AS_THEY_ARE = ("gap", "presence", "signal", "broadcast")


def say(event: str, **more: Any) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


def frame_of(entry: Entry) -> dict[str, Any]:
    return entry.frame if isinstance(entry, Message) else entry


def as_wire(item: OutboxItem) -> dict[str, Any]:
    return {
        "id": item.id, "to": item.to, "body": item.body, "expiresIn": item.expires_in, "order": item.order,
        "createdAt": item.created_at, "triedAt": item.tried_at, "state": item.state.value, "error": item.error,
        "type": item.kind.value, "group": item.group, "target": item.target, "targetFrom": item.target_from,
        "receipts": item.receipts,
    }  # fmt: skip


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Driver:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        given = {
            "ping_interval": options.ping_interval, "patience": options.patience,
            "try_timeout": options.try_timeout, "ack_delay": options.ack_delay,
            "backoff_first": options.backoff_first, "backoff_most": options.backoff_most, "steady": options.steady,
        }  # fmt: skip
        self.client = InboxClient(
            options.url,
            user=options.user,
            device=options.device,
            get_token=self.get_token if options.token_file else None,
            storage=Path(options.state) / DATABASE if options.state else None,
            window=options.window,
            **({"max_outbox": options.max_outbox} if options.max_outbox else {}),
            timing=Timing(**{name: value for name, value in given.items() if value is not None}),
        )
        self.released = asyncio.Event()
        self.released.set()
        self.failures = 0
        self.kills_in_handler = self.kills_after_handler = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.listen()

    async def get_token(self, refresh: bool) -> str:
        return Path(self.options.token_file).read_text().strip()

    def listen(self) -> None:
        on = self.client.on
        for kind in HANDLED:
            on(kind, self.entry)
        on("handled", self.handled)
        on("state", self.state)
        for kind in AS_THEY_ARE:
            on(kind, self.as_it_is)
        on("accepted", lambda told: say("accepted", id=told["id"], acceptance=told["acceptance"].frame))
        on("failed", lambda told: say("failed", **told))
        on("stale", lambda item: say("stale", id=item.id))
        on("storage", lambda told: say("storage", **told))
        on("error", lambda told: say("error", code=told["code"], text=str(told.get("error") or told.get("message"))))

    def as_it_is(self, frame: dict[str, Any]) -> None:
        say(frame["type"], **{name: value for name, value in frame.items() if name != "type"})

    def state(self, change: StateChange) -> None:
        more = {"code": change.code, "reason": change.reason, "retryAt": change.retry_at}
        known = {name: value for name, value in more.items() if value is not None}
        say("state", state=change.state.value, previous=change.previous.value, **known)

    # Handling

    async def entry(self, entry: Entry) -> None:
        frame = frame_of(entry)
        say("handling", message=frame)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("told to fail")
        await self.released.wait()
        if self.options.transactional:
            await self.log_in_table(entry)
        else:
            if self.kills_in_handler:
                kill()
            self.log_in_file(frame)
        say("handled", **{name: frame.get(name) for name in ("cursor", "id", "from")})

    async def log_in_table(self, entry: Entry) -> None:
        async with self.client.handling(entry) as db:
            await db.execute("INSERT INTO log (message) VALUES (?)", (json.dumps(frame_of(entry)),))
            if self.kills_in_handler:
                kill()

    def log_in_file(self, frame: dict[str, Any]) -> None:
        if self.options.log:
            with Path(self.options.log).open("a") as log:
                log.write(json.dumps(frame) + "\n")
                log.flush()
                os.fsync(log.fileno())

    def handled(self, frame: dict[str, Any]) -> None:
        if self.kills_after_handler and frame["type"] in HANDLED:
            kill()

    # Commands

    async def run(self) -> None:
        await self.client.open()
        if self.options.transactional:
            async with self.client.transaction() as db:
                await db.execute("CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, message TEXT NOT NULL)")
        say("ready")
        lines = asyncio.StreamReader(limit=2**24)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            command = json.loads(line)
            if command["do"] == "close":
                break
            self.obey(command)
            await asyncio.sleep(0)  # a send is in the outbox before the next command is looked at
        await self.client.close()

    def obey(self, command: dict[str, Any]) -> None:
        match command.pop("do"):
            case "hold":
                self.released.clear()
            case "release":
                self.released.set()
            case "fail":
                self.failures = command["times"]
            case "network":
                self.client.set_online(command["online"])
            case "drop":
                self.client.drop()
            case "kill_in_handler":
                self.kills_in_handler = True
            case "kill_after_handler":
                self.kills_after_handler = True
            case "outbox":
                say("outbox", items=[as_wire(item) for item in self.client.outbox()])
            case "stats":
                stats = dict(vars(self.client.stats))
                say("stats", lastPending=stats.pop("last_pending"), **stats)
            case other:
                asked = {("with_" if name == "with" else name): value for name, value in command.items()}
                self.later(getattr(self, f"do_{other}")(**asked))

    def later(self, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            with contextlib.suppress(InboxError, LookupError):  # events tell
                await work

        task = asyncio.create_task(guarded())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def do_connect(self) -> None:
        await self.client.connect()

    async def do_send(self, to: Any, body: Any, **options: Any) -> None:
        await self.sent(self.client.send(to, body, **options), options.get("id"))

    async def do_send_group(self, group: str, body: Any, **options: Any) -> None:
        await self.sent(self.client.send_to_group(group, body, **options), options.get("id"))

    async def do_edit(self, message: dict[str, Any], body: Any, id: str) -> None:
        await self.sent(self.client.edit(message, body, id=id), id)

    async def do_delete(self, message: dict[str, Any], id: str) -> None:
        await self.sent(self.client.delete(message, id=id), id)

    async def do_react(self, message: dict[str, Any], body: Any, id: str) -> None:
        await self.sent(self.client.react(message, body, id=id), id)

    async def sent(self, sending: Awaitable[Any], id: str | None) -> None:
        """What never came into the outbox has no event of its own."""
        try:
            await sending
        except InboxError as fault:
            code = getattr(fault, "code", "")
            if code not in {"closed", "discarded"} and id not in self.told_failed():
                say("failed", id=id, code=code)

    async def do_signal(self, **asked: Any) -> None:
        self.client.signal(**asked)

    async def do_watch(self, users: list[str]) -> None:
        self.client.watch(users)

    async def do_unwatch(self, users: list[str]) -> None:
        self.client.unwatch(users)

    async def do_read(self, message: dict[str, Any]) -> None:
        await self.client.read(message)

    def told_failed(self) -> set[str]:
        return {item.id for item in self.client.outbox() if item.error is not None}

    async def do_retry(self, id: str) -> None:
        await self.client.retry(id)

    async def do_discard(self, id: str) -> None:
        await self.client.discard(id)
        say("failed", id=id, code="discarded")

    async def do_history(self, with_: str | None = None, **asked: Any) -> None:
        try:
            entries, more = await self.client.history(with_user=with_, **asked)
        except InboxError as fault:
            say("history_failed", code=getattr(fault, "code", ""))
        else:
            say("history", entries=entries, more=more)

    async def do_log(self) -> None:
        async with self.client.transaction() as db:
            rows = await db.execute("SELECT message FROM log ORDER BY number")
        say("log", messages=[json.loads(row[0]) for row in rows])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    for name in ("--user", "--device", "--state", "--log", "--token-file"):
        parser.add_argument(name)
    seconds = ("ping-interval", "patience", "try-timeout", "ack-delay", "backoff-first", "backoff-most", "steady")
    for name in [f"--{name}" for name in seconds]:
        parser.add_argument(name, type=float)
    parser.add_argument("--window", type=int)
    parser.add_argument("--max-outbox", type=int)
    parser.add_argument("--transactional", action="store_true")
    return parser.parse_args()


async def main() -> None:
    await Driver(parsed()).run()


if __name__ == "__main__":
    asyncio.run(main())

"""The commands that are clients of the running service: `inboxd send` and `inboxd tail`."""

import asyncio
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Coroutine
from typing import Annotated, Any, NoReturn

import typer

from service.config import TOKEN
from service.ops import sending
from service.ops.answers import BAD_NEWS, NO_ANSWER, WRONG_USE, Json, Token, Url, plain_errors, stop
from service.ops.reach import http_url, settings_of, socket_url
from service.ops.show import Out, printable, to_json
from service.ops.tailing import Tail, follow

STDOUT = 1
"""Its file descriptor."""


def send(  # noqa: PLR0913, PLR0917 - one parameter for each option
    to: Annotated[str, typer.Argument(help="A user, or several separated by commas.")],
    text: Annotated[str, typer.Argument(help="The text; `-` reads it from standard input.")],
    sender: Annotated[
        str | None, typer.Option("--from", help="The user who sends; else the token's (others need send:any).")
    ] = None,
    message_id: Annotated[
        str | None, typer.Option("--id", help="Its id; the same one again is no second message.")
    ] = None,
    as_body: Annotated[bool, typer.Option("--body", help="TEXT is the whole body, as JSON.")] = False,
    expires_in: Annotated[
        int | None, typer.Option("--expires-in", help="Seconds after which it is not replayed.")
    ] = None,
    patience: Annotated[
        float, typer.Option("--patience", help="Seconds to go on trying while the service is away.")
    ] = 30.0,
    token: Token = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Send a message: inboxd send --from alice bob "hi"."""
    with plain_errors():
        base = http_url(settings_of(), url)
    users = to.split(",")
    message: dict[str, Any] = {
        "id": message_id or sending.new_id(),
        "to": users if len(users) > 1 else to,
        "body": _body(sys.stdin.read() if text == "-" else text, as_body=as_body),
    }
    if expires_in is not None:
        message["expires_in"] = expires_in
    answer = sending.send(base, _asking(sender, token, message), message, patience)
    with plain_errors():
        _show_answer(answer, as_json=as_json)


def _asking(sender: str | None, token: str | None, message: dict[str, Any]) -> dict[str, str]:
    """Headers that say who sends. With a token another sender stands in the message."""
    if token is not None:
        if sender is not None:
            message["from"] = sender
        return {"Authorization": f"Bearer {token}"}
    if sender is None:
        stop(f"who sends? Name a user (--from), or give a token ({TOKEN})", WRONG_USE)
    return {"X-Inboxd-User": sender}


def _body(text: str, *, as_body: bool) -> object:
    if not as_body:
        return {"text": text.rstrip("\n")}
    try:
        return json.loads(text)
    except ValueError as error:
        stop(f"the body is not JSON: {error}", WRONG_USE)


def _show_answer(answer: sending.Answer, *, as_json: bool) -> NoReturn:
    if as_json:
        Out().line(to_json(answer.body | {"id": answer.id, "status": answer.status}))
    elif answer.unknown:
        why = f"HTTP {answer.status}" if answer.status else "no answer (is the service running?)"
        stop(
            f"{why}: {answer.body.get('detail', '')}\nThe message may or may not be in; "
            f"the same command with --id {answer.id} is safe to repeat.",
            NO_ANSWER,
        )
    else:
        _show_known(answer)
    raise typer.Exit(NO_ANSWER if answer.unknown else 0 if answer.accepted else BAD_NEWS)


def _show_known(answer: sending.Answer) -> None:
    body = answer.body
    if "recipients" not in body:
        stop(
            f"refused: {body.get('code', answer.status)}: {body.get('detail') or body.get('title', '')}",
            BAD_NEWS,
        )
    for row in body["recipients"]:
        if "error" in row:
            Out().line(printable(f"{answer.id}  {row['to']}: refused, {row['error']}"), "red")
            continue
        first = "accepted before" if row.get("duplicate", body.get("duplicate")) else "accepted"
        Out().line(printable(f"{answer.id}  {row['to']}: {first} at {row['cursor']}, {body.get('durability')}"))


def tail(
    user: Annotated[str, typer.Argument(help="Whose inbox.")],
    device: Annotated[
        str | None, typer.Option("--device", help="Receive as this device, in its place; else as tail.")
    ] = None,
    from_cursor: Annotated[
        str | None, typer.Option("--from-cursor", help="Start after it (which acks it); 0-0: from the start.")
    ] = None,
    no_ack: Annotated[
        bool, typer.Option("--no-ack", help="Ack nothing: all comes again next time; ends at a full window.")
    ] = False,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many messages.")] = None,
    token: Token = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Receive and ack like a device, until Ctrl-C."""
    with plain_errors():
        base = http_url(settings_of(), url)
    # A device of our own keeps `attempt`s, by the clock; where a borrowed one stands only it knows.
    attempt = time.time_ns() // 1_000_000 if device is None else None
    follower = Tail(user, device or "tail", Out(), Out(sys.stderr), from_cursor, not no_ack, as_json, count, attempt)
    follower.token = token
    with plain_errors():
        if not until_stopped(follow(follower, socket_url(base))):
            raise typer.Exit(BAD_NEWS)


def until_stopped(work: Coroutine[Any, Any, bool]) -> bool:
    """Runs until it ends; Ctrl-C, SIGTERM and `| head` end it cleanly, which counts as success."""

    async def main() -> bool:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        if stat.S_ISFIFO(os.fstat(STDOUT).st_mode):
            loop.add_reader(STDOUT, task.cancel)  # readable is a pipe's end only when its reader has left
        try:
            return await task
        except asyncio.CancelledError:
            return True

    return asyncio.run(main())

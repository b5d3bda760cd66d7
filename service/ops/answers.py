"""What all commands share: options, exit codes, and errors in plain words.

Exit codes: 0 as wished; 1 the answer is bad news (refused, no such inbox, no worker, a check failed,
connection closed for good); 2 wrong use; 3 nobody answered, or the outcome is not known.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from service.config import TOKEN, explain
from service.ops.reach import NothingRuns
from service.ops.show import Out, ReaderGoneError, printable

BAD_NEWS, WRONG_USE, NO_ANSWER = 1, 2, 3

RedisUrl = Annotated[
    str | None,
    typer.Option("--redis-url", help="The server to read; else INBOXD_REDIS_URL, else the embedded one."),
]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Of the embedded server; else INBOXD_DATA_DIR.")]
Prefix = Annotated[str | None, typer.Option("--prefix", help="Of every key; else INBOXD_PREFIX, else chat:.")]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for machines.")]
Url = Annotated[str | None, typer.Option("--url", help="The service; else by INBOXD_HOST and INBOXD_PORT.")]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar=TOKEN,
        show_envvar=False,
        help=f"Who asks, where tokens are wanted; better in {TOKEN}: other users of this machine see command lines.",
    ),
]


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What goes wrong on the way is a sentence on stderr and an exit code, never a stack trace."""
    try:
        yield
    except NothingRuns as error:
        stop(str(error), NO_ANSWER)
    except ValidationError as error:
        stop(explain(error), WRONG_USE)
    except ReaderGoneError:
        # Python's own flush at the end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def stop(text: str, code: int) -> NoReturn:
    out = Out(sys.stderr)
    for line in text.splitlines():
        out.line(printable(line), "red")
    raise typer.Exit(code)

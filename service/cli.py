"""The program `inboxd`: `serve`, and the commands of the operators."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from service.config import BUILD, Settings, explain, unknown_variables
from service.core.errors import Refused
from service.ops.views import register
from service.supervisor import Supervisor, say
from service.worker_slot import REFUSES

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

BAD_SETTINGS = 2


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"inboxd {BUILD}")
        raise typer.Exit


@app.callback()
def inboxd(
    *,
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,
) -> None:
    """Chat delivery on Redis Streams: an accepted message is a delivered message."""


@app.command()
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="A server to use instead of the embedded one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded server keeps its data.")] = None,
    durability: Annotated[str | None, typer.Option(help="auto, appended or fsynced.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Start the service. Each flag has an environment variable, such as INBOXD_PORT; a flag wins."""
    flags = {
        "host": host,
        "port": port,
        "workers": workers,
        "redis_url": redis_url,
        "data_dir": data_dir,
        "durability": durability,
        "log_level": log_level,
    }
    settings = _settings(flags)
    for name in unknown_variables(os.environ):
        say(f"{name} is not a setting of this version; it has no effect")
    try:
        code = asyncio.run(Supervisor(settings).run())
    except Refused as error:
        typer.echo(f"inboxd: {error}", err=True)
        raise typer.Exit(REFUSES) from None
    raise typer.Exit(code)


def _settings(flags: dict[str, Any]) -> Settings:
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        typer.echo(f"inboxd: {explain(error)}", err=True)
        raise typer.Exit(BAD_SETTINGS) from None


register(app)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()

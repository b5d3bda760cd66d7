"""The command `inboxd audit`. Exit codes as those of `grep`: 0 clean, 1 something is off, 2 it could not look."""

import asyncio
import sys
from typing import Annotated

import typer

from service.config import Settings
from service.ops.answers import BAD_NEWS, DataDir, Json, Prefix, RedisUrl, plain_errors, stop
from service.ops.audit import Report, audit
from service.ops.audit_laws import Asked
from service.ops.reach import NothingRuns, reached, settings_of
from service.ops.show import Out, to_json
from service.store.keys import Keys

NOT_LOOKED = 2


def audit_(
    entries: Annotated[bool, typer.Option("--entries", help="Also read every entry of every inbox.")] = False,
    redis_url: RedisUrl = None,
    data_dir: DataDir = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Walk all keys and name what should not be: lost entries, cursors beyond the end, claims of the dead."""

    async def ask(settings: Settings) -> Report:
        asked = Asked(
            Keys(settings.prefix),
            settings.max_pending,
            settings.retention,
            settings.device_expiry,
            settings.dead_after,
        )
        async with reached(settings) as (client, _):
            return await audit(client, asked, entries=entries, progress=_progress)

    with plain_errors():
        try:
            report = asyncio.run(ask(settings_of(redis_url, data_dir, prefix)))
        except NothingRuns as error:
            stop(str(error), NOT_LOOKED)
        finally:
            _progress(None)
        if as_json:
            Out().line(to_json({"clean": not report.off, **_plain(report)}))
        else:
            _show(Out(), report)
        if report.off:
            raise typer.Exit(BAD_NEWS)


def _progress(keys: int | None) -> None:
    """Keys looked at so far, in one line of a terminal; None clears it."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K" if keys is None else f"\r{keys:,} keys")
        sys.stderr.flush()


def _plain(report: Report) -> dict[str, object]:
    return {
        "complete": report.complete,
        "totals": report.totals,
        "findings": report.findings,
        "left_out": report.left_out,
    }


def _show(out: Out, report: Report) -> None:
    if report.findings:
        rows = [(one.level, one.law, one.key, one.found) for one in report.findings]
        out.table("findings", ("level", "law", "key", "found"), rows)
        out.line()
    if report.left_out:
        out.line(f"and {report.left_out} more notes")
    totals = report.totals
    counted = ((totals.users, "user"), (totals.connected, "connected device"), (totals.workers, "living worker"))
    out.line(f"{_many(totals.keys, 'key')}: {', '.join(_many(*one) for one in counted)}")
    expired = "" if totals.expired is None else f", {totals.expired} of them expired"
    out.line(
        f"{_many(totals.given, 'entry', 'entries')} = {totals.dropped} dropped + {totals.trimmed} trimmed "
        f"+ {totals.deleted} deleted + {totals.present} present{expired}"
    )
    if not report.complete:
        out.line("too much is off: the walk was ended early", "bold red")
    out.line(f"{report.off} off" if report.off else "clean", "bold red" if report.off else "green")


def _many(count: int, one: str, several: str = "") -> str:
    return f"{count} {one}" if count == 1 else f"{count} {several or one + 's'}"

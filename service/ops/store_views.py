"""The commands that read the server: `inboxd inbox`, `inboxd workers` and `inboxd doctor`."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from service.config import Settings
from service.ops import doctor, queries
from service.ops.answers import BAD_NEWS, DataDir, Json, Prefix, RedisUrl, plain_errors, stop
from service.ops.entries import framed, loads, origin, place, said
from service.ops.reach import reached, redis_cli, settings_of
from service.ops.show import Out, clock, lasting, printable, to_json
from service.store.keys import Keys

MOST_ONLINE = 10_000
"""Devices that `workers --who` lists."""


def inbox(
    user: Annotated[str, typer.Argument(help="Whose inbox.")],
    newest: Annotated[int, typer.Option("--newest", "-n", min=0, max=10_000, help="Entries to show.")] = 20,
    redis_url: RedisUrl = None,
    data_dir: DataDir = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Show what an inbox holds, what waits in it, and for which device. Straight from the server."""

    async def ask(settings: Settings) -> tuple[queries.InboxView | None, list[queries.EntryView]]:
        keys = Keys(settings.prefix)
        async with reached(settings) as (client, _):
            view = await queries.inbox(client, keys, user)
            return view, await queries.entries(client, keys, user, newest) if newest else []

    with plain_errors():
        view, entries = asyncio.run(ask(settings_of(redis_url, data_dir, prefix)))
        if view is None:
            stop(f"{user} has no inbox: nobody has written to {user}, and {user} never connected", BAD_NEWS)
        if as_json:
            Out().line(to_json({**asdict(view), "entries": [_entry_json(entry) for entry in entries]}))
        else:
            _show_inbox(Out(), view, entries)


def _show_inbox(out: Out, view: queries.InboxView, entries: Sequence[queries.EntryView]) -> None:
    out.table("entries", ("cursor", "kind", "id", "from", "to", "body"), [_entry_row(entry) for entry in entries])
    out.line()
    out.table(
        "devices",
        ("device", "cursor", ">behind", "last seen", "worker"),
        [(d.device, d.cursor, d.behind, clock(d.last_seen), d.worker) for d in view.devices],
    )
    out.line()
    out.table(
        "state",
        ("user", "last", "floor", ">length", ">pending"),
        [(view.user, view.last, view.floor, view.length, view.pending)],
    )


def _entry_row(entry: queries.EntryView) -> Sequence[str | None]:
    frame = framed(entry.fields)
    columns = (frame.get("id"), origin(frame), place(frame), said(frame))
    return (entry.cursor, frame["type"], *(column or None for column in columns))


def _entry_json(entry: queries.EntryView) -> dict[str, Any]:
    found: dict[str, Any] = {"cursor": entry.cursor, **entry.fields}
    if "body" in found:
        found["body"] = loads(found["body"])
    return found


def workers(
    who: Annotated[bool, typer.Option("--who", help="Also who is connected to which.")] = False,
    redis_url: RedisUrl = None,
    data_dir: DataDir = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Show the living workers, their heartbeats and what each has yet to read."""

    async def ask(settings: Settings) -> tuple[list[queries.WorkerView], list[queries.OnlineView]]:
        keys = Keys(settings.prefix)
        async with reached(settings) as (client, _):
            rows = await queries.workers(client, keys)
            names = [row.worker for row in rows] if who else []
            return rows, await queries.online(client, keys, names, MOST_ONLINE)

    with plain_errors():
        rows, online = asyncio.run(ask(settings_of(redis_url, data_dir, prefix)))
        if as_json:
            answer: dict[str, Any] = {"workers": rows}
            Out().line(to_json(answer | ({"online": online} if who else {})))
        else:
            _show_workers(Out(), rows, online if who else None)
        if not rows:
            stop("no worker lives; start them with `inboxd serve`", BAD_NEWS)


def _show_workers(out: Out, rows: Sequence[queries.WorkerView], online: Sequence[queries.OnlineView] | None) -> None:
    out.table(
        "workers",
        ("worker", "host", ">pid", "version", ">connections", ">heartbeat", ">lag"),
        [(r.worker, r.host, r.pid, r.version, r.connections, lasting(r.heartbeat_age_ms), r.lag) for r in rows],
    )
    if online is not None:
        out.line()
        out.table(
            "online",
            ("user", "device", "worker", "session"),
            [(row.user, row.device, row.worker, row.session) for row in online],
        )


_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor_(
    redis_url: RedisUrl = None,
    data_dir: DataDir = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Check that the server keeps what the service promises, and say what to change."""

    async def ask(settings: Settings) -> tuple[str, list[doctor.Finding]]:
        async with reached(settings) as (client, url):
            asked = doctor.Asked(Keys(settings.prefix), redis_cli(url), settings.durability, settings.dead_after)
            return asked.cli, await doctor.examine(client, asked)

    with plain_errors():
        cli, findings = asyncio.run(ask(settings_of(redis_url, data_dir, prefix)))
        if as_json:
            Out().line(to_json({"server": cli, "findings": findings}))
        else:
            _show_findings(Out(), cli, findings)
        if any(finding.level == "fail" for finding in findings):
            raise typer.Exit(BAD_NEWS)


def _show_findings(out: Out, cli: str, findings: Sequence[doctor.Finding]) -> None:
    out.line(f"server  {cli}")
    for finding in findings:
        out.line(printable(f"{finding.level:<5} {finding.check}: {finding.found}"), _STYLES[finding.level])
        if finding.change:
            out.line(printable(f"      change: {finding.change}"))

"""The operators' commands of `inboxd`; what they answer and their exit codes are in `answers`."""

import typer

from service.ops.audit_view import audit_
from service.ops.client_views import send, tail
from service.ops.minting import token
from service.ops.store_views import doctor_, inbox, workers


def register(app: typer.Typer) -> None:
    """Adds `send`, `tail`, `inbox`, `workers`, `doctor`, `audit` and `token` to `app`."""
    for name, command in (
        ("send", send),
        ("tail", tail),
        ("inbox", inbox),
        ("workers", workers),
        ("doctor", doctor_),
        ("audit", audit_),
        ("token", token),
    ):
        app.command(name)(command)

"""What is said when the service is ready: where everything is, and lines to copy."""

import re
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from service.config import BUILD, Settings
from service.ops.reach import redis_cli

_IN_QUERY = re.compile(r"([?&]\w*password=)[^&#]*", re.IGNORECASE)
_TEMPLATE = """\
ready, version {version}: {workers} on {server}, acceptances are {level}.

  chat page   {http}/
  HTTP        {http}
  API docs    {http}/docs
  WebSocket   {ws}/v1/ws
  look inside {cli}

Receive as bob:
  {tail} tail bob
  curl -s '{http}/v1/inbox?device=phone&wait=30' -H {bob}

Send to bob:
  curl -s -X POST {http}/v1/messages -H {alice} -H 'Content-Type: application/json' \
-d '{{"to":"bob","body":{{"text":"hi"}}}}'

{tokens}Ctrl-C stops it.
"""
_TOKENS = """\
INBOXD_TOKEN: a token of the one who asks{made}.

"""


def welcome(settings: Settings, level: str, data: Path | None) -> str:
    """The start-up message. `data`: where the embedded server keeps its data, None when there is none.

    `settings` are the effective ones: the real port, the real URL of the server.
    """
    assert settings.redis_url is not None
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return _TEMPLATE.format(
        version=BUILD,
        workers="1 worker" if settings.workers == 1 else f"{settings.workers} workers",
        server=f"the embedded server (data in {data})" if data else _without_password(settings.redis_url),
        level=level,
        http=f"http://{host}:{settings.port}",
        ws=f"ws://{host}:{settings.port}",
        cli=redis_cli(settings.redis_url),
        tail=_command(settings),
        **_asking(settings),
    )


def _asking(settings: Settings) -> dict[str, str]:
    """How the lines to copy say who asks."""
    if settings.auth == "off":
        return {"bob": "'X-Inboxd-User: bob'", "alice": "'X-Inboxd-User: alice'", "tokens": ""}
    made = f", such as `{_command(settings)} token --user bob` makes" if settings.jwt_secret is not None else ""
    header = '"Authorization: Bearer $INBOXD_TOKEN"'
    return {"bob": header, "alice": header, "tokens": _TOKENS.format(made=made)}


def _without_password(url: str) -> str:
    url = _IN_QUERY.sub(r"\1***", url)
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}").geturl()


def _command(settings: Settings) -> str:
    """`inboxd` as it can be typed here, told of address and port where they are not the default ones."""
    defaults = Settings.model_fields
    told = "".join(
        f"INBOXD_{name.upper()}={getattr(settings, name)} "
        for name in ("host", "port")
        if getattr(settings, name) != defaults[name].default
    )
    beside = Path(sys.executable).with_name("inboxd")
    if (on_path := shutil.which("inboxd")) and Path(on_path) == beside:
        return f"{told}inboxd"
    if beside.is_relative_to(Path.cwd()):
        beside = beside.relative_to(Path.cwd())
    return f"{told}{beside}"

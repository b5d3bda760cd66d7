"""What is said when the service is ready: where everything is, and lines to copy."""

import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from service.config import VERSION, Settings
from service.ops.reach import redis_cli

_TEMPLATE = """\
ready, version {version}: {workers} on {server}, acceptances are {level}.

  HTTP        {http}
  API docs    {http}/docs
  WebSocket   {ws}/v1/ws
  look inside {cli}

Receive as bob:
  {tail} tail bob
  curl -s '{http}/v1/inbox?device=phone&wait=30' -H 'X-Inboxd-User: bob'

Send to bob:
  curl -s -X POST {http}/v1/messages -H 'X-Inboxd-User: alice' -H 'Content-Type: application/json' \
-d '{{"to":"bob","body":{{"text":"hi"}}}}'

Ctrl-C stops it.
"""


def welcome(settings: Settings, level: str, data: Path | None) -> str:
    """The start-up message. `data`: where the embedded server keeps its data, None when there is none.

    `settings` are the effective ones: the real port, the real URL of the server.
    """
    assert settings.redis_url is not None
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return _TEMPLATE.format(
        version=VERSION,
        workers="1 worker" if settings.workers == 1 else f"{settings.workers} workers",
        server=f"the embedded server (data in {data})" if data else _without_password(settings.redis_url),
        level=level,
        http=f"http://{host}:{settings.port}",
        ws=f"ws://{host}:{settings.port}",
        cli=redis_cli(settings.redis_url),
        tail=_command(settings),
    )


def _without_password(url: str) -> str:
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

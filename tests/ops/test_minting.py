import os
import time
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from service.edge.key_sources import OneKey
from service.edge.signing_keys import shared_secret
from service.edge.tokens import Tokens
from service.ops.views import register
from tests.support.issuer import SECRET, claims_of, pem, private_key

APP = typer.Typer()
register(APP)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("INBOXD_"):
            monkeypatch.delenv(name)


def token(*words: str, **environ: str) -> Result:
    given = {f"INBOXD_{name.upper()}": value for name, value in {"jwt_secret": SECRET, **environ}.items()}
    return CliRunner().invoke(APP, ("token", *words), env=given)


def claims(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    made = result.stdout.strip()
    head, body, signature = made.split(".")
    assert (head, body, signature) != ("", "", "")
    assert SECRET not in result.output
    return claims_of(made)


def test_a_token_names_its_user_scopes_and_end() -> None:
    before = int(time.time())
    made = claims(token("--user", "alice", "--scope", "chat ops", "--expires-in", "10m"))
    assert (made["sub"], made["scope"]) == ("alice", "chat ops")
    assert made["exp"] - made["iat"] == 600
    assert before <= made["iat"] <= time.time()


def test_without_more_it_is_for_chat_and_an_hour() -> None:
    made = claims(token("--user", "alice"))
    assert made["scope"] == "chat"
    assert made["exp"] - made["iat"] == 3600
    assert set(made) == {"sub", "scope", "iat", "exp"}


def test_it_carries_what_the_service_wants_to_read() -> None:
    made = claims(token("--user", "alice", auth="jwt", jwt_audience="chat", jwt_issuer="me"))
    assert (made["aud"], made["iss"]) == ("chat", "me")


async def test_the_service_takes_it() -> None:
    checker = Tokens(OneKey(shared_secret(SECRET)))
    assert (await checker.identify(token("--user", "alice", "--scope", "ops").stdout.strip())).may("ops")


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    (
        (("--user", "no name"), {}, "--user"),
        (("--user", "alice", "--scope", "chat admin"), {}, "'admin' is none of chat, ops, send:any"),
        (("--user", "alice", "--expires-in", "soon"), {}, "--expires-in"),
        (("--user", "alice"), {"jwt_secret": ""}, "There is none"),
        (("--user", "alice"), {"jwt_secret": "hunter2"}, "32 bytes"),
        (
            ("--user", "alice"),
            {"jwt_secret": "", "jwt_public_key": pem(private_key("ES256"))},
            "private key makes them",
        ),
    ),
    ids=("name", "scope", "duration", "no_secret", "short_secret", "public_key"),
)
def test_wrong_use_is_told_in_words(words: tuple[str, ...], environ: dict[str, str], said: str) -> None:
    result = token(*words, **environ)
    assert result.exit_code == 2
    assert said in result.stderr.replace("\n", " ")
    assert "hunter2" not in result.output
    assert result.stdout == ""

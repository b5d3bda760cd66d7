"""Tokens: asked for before each try, renewed on the open connection, refused."""

import base64
import json
import time

from tests.clients.conformance.conftest import Open
from tests.clients.conformance.stage import Stage
from tests.clients.scripted.script import Close, Fault, What, When


def token(name: str, life: float = 3600) -> str:
    """A JWT for bob whose signature nobody checks."""
    parts = [{"alg": "HS256"}, {"sub": "bob", "exp": int(time.time() + life), "jti": name}]
    plain = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*plain, "c2lnbmF0dXJl"])


def hand_out(stage: Stage, fresh: str) -> None:
    """The application's next token."""
    path = stage.home.token_file
    path.with_suffix(".new").write_text(fresh)
    path.with_suffix(".new").rename(path)


async def with_tokens(fresh: Open, first: str) -> Stage:
    stage = await fresh(token_file="TOKEN")
    stage.server.tokens = {first}
    hand_out(stage, first)
    return stage


async def test_a_token_goes_with_hello(fresh: Open) -> None:
    first = token("a")
    stage = await with_tokens(fresh, first)
    stage.deliver(1)
    await stage.settled()
    assert [frame["token"] for frame in stage.server.frames("<", "hello")] == [first]


async def test_when_a_token_is_over_a_fresh_one_is_used(fresh: Open) -> None:
    first, second = token("a"), token("b")
    stage = await with_tokens(fresh, first)
    await stage.live()
    stage.server.tokens = {second}
    hand_out(stage, second)
    stage.play(Fault(When.AFTER, What.ENTRY, Close(4002)))
    stage.deliver(2)
    await stage.until(lambda: not stage.server.script.left, "closed")
    await stage.send(1)
    await stage.settled()
    assert [frame["token"] for frame in stage.server.frames("<", "hello")] == [first, second]


async def test_a_refused_token_is_replaced_once(fresh: Open) -> None:
    first, second = token("a"), token("b")
    stage = await with_tokens(fresh, first)
    await stage.live()
    stage.server.tokens = {second}
    stage.server.cut()
    await stage.in_state("failed")  # the same token twice is no fresh one
    assert stage.server.frames("<", "hello")[-1]["token"] == first
    hand_out(stage, second)
    await stage.do("connect")
    stage.deliver(1)
    await stage.settled()


async def test_a_fresh_token_after_a_refusal_is_tried_at_once(fresh: Open) -> None:
    first, second = token("a"), token("b")
    stage = await with_tokens(fresh, first)
    await stage.live()
    stage.server.tokens = {second}
    refused = stage.server.frames(">", "error")
    stage.play(Fault(When.AFTER, What.ENTRY, Close(4501)))
    hand_out(stage, second)
    stage.deliver(2)
    await stage.settled()
    assert refused == []


async def test_a_token_is_renewed_on_the_open_connection(fresh: Open) -> None:
    first, second = token("a", life=3), token("b")
    stage = await with_tokens(fresh, first)
    await stage.live()
    hand_out(stage, second)
    stage.server.tokens = {first, second}
    await stage.until(lambda: stage.server.frames("<", "auth"), "a fresh token")
    assert [frame["token"] for frame in stage.server.frames("<", "auth")] == [second]
    stage.deliver(1)
    await stage.settled()
    assert stage.installation.hellos == 1


async def test_a_renewal_that_is_refused_is_told_and_the_connection_stays(fresh: Open) -> None:
    first, second = token("a", life=3), token("b")
    stage = await with_tokens(fresh, first)
    await stage.live()
    hand_out(stage, second)
    await stage.until(lambda: stage.driver.of("error"), "told")
    assert stage.driver.of("error")[0]["code"] == "unauthenticated"
    stage.deliver(1)
    await stage.settled()
    assert stage.installation.hellos == 1

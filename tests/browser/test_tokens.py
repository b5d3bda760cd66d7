"""Where the service asks for tokens, so does the page."""

from collections.abc import Mapping
from typing import Any

import pytest
from playwright.async_api import expect

from scripts.lab.service import Service
from tests.browser.chat import Chat
from tests.browser.conftest import Fresh
from tests.support.api import Api
from tests.support.issuer import SECRET, Issuer

ISSUER = Issuer()


def by_token() -> Mapping[str, str]:
    return {"Authorization": f"Bearer {ISSUER.token('operator', 'ops')}"}


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"auth": "jwt", "jwt_secret": SECRET, "operator": by_token}


@pytest.fixture
async def chat(service: Service, fresh: Fresh, alice: str) -> Chat:
    """The page, on which nobody has said who they are."""
    context, watch = await fresh()
    chat = Chat(await context.new_page(), watch, service.url, alice, "web")
    await chat.page.goto(service.url)
    return chat


async def enter(chat: Chat, token: str) -> None:
    await chat.by("login-token").fill(token)
    await chat.by("login-submit").click()


async def test_a_token_says_who_one_is(service: Service, chat: Chat, alice: str, bob: str) -> None:
    await enter(chat, ISSUER.token(alice))
    await chat.is_live()
    await expect(chat.page.get_by_text(alice, exact=True)).to_be_visible()
    await chat.talk_to(bob)
    await chat.write("hello")
    await chat.has_sent("hello")
    async with Api(service.url, token=ISSUER.token(bob)) as bobs:
        await bobs.send(alice, {"text": "and back"}, "m-1")
    await chat.shows("hello", "and back")
    await chat.reload()
    await chat.is_live()
    await chat.shows("hello", "and back")


async def test_what_is_no_token_or_is_refused_is_said_and_another_may_be_given(
    chat: Chat, alice: str, bob: str
) -> None:
    await enter(chat, "no token")
    await expect(chat.page.get_by_role("alert").filter(has_text="token")).to_be_visible()
    await enter(chat, Issuer(secret="another secret, which is also long enough").token(alice))
    await chat.is_state("failed")
    await enter(chat, ISSUER.token(alice))
    await chat.is_live()
    await chat.talk_to(bob)
    await chat.write("hello")
    await chat.has_sent("hello")


async def test_a_token_is_in_no_address_and_gone_for_whoever_comes_next(chat: Chat, alice: str) -> None:
    token = ISSUER.token(alice)
    asked: list[str] = []
    chat.page.on("request", lambda request: asked.append(request.url))
    chat.page.on("websocket", lambda socket: asked.append(socket.url))
    await enter(chat, token)
    await chat.is_live()
    await chat.by("switch-user").click()
    await expect(chat.by("login-token")).to_be_visible()
    assert asked
    assert not any(token in url or token.split(".")[1] in url for url in [*asked, chat.page.url])
    kept = "() => JSON.stringify([{...localStorage}, {...sessionStorage}])"
    assert token not in await chat.page.evaluate(kept)

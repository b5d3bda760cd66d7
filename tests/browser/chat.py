"""The chat page, as somebody who uses it sees it."""

import re
from typing import Any, Self
from urllib.parse import urlencode

from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.watch import Watch

OUT = re.compile("accepted|delivered")
"""States of one's own messages that have left: receipts may come or not."""


class Chat:
    """One tab with the page open, in a browser's `context`."""

    def __init__(self, page: Page, watch: Watch, base: str, user: str, device: str) -> None:
        self.page, self.watch, self.base = page, watch, base
        self.user, self.device = user, device
        self.connection = page.get_by_test_id("connection")
        self.composer = page.get_by_test_id("composer")
        self.conversations = page.get_by_test_id("conversations")
        self.log = page.get_by_test_id("log")
        self.messages = self.log.get_by_test_id("message")
        self.bodies = self.messages.locator(".text")

    @classmethod
    async def open(cls, context: BrowserContext, watch: Watch, base: str, user: str, device: str = "web") -> Self:
        """A tab whose address says who it is; does not wait for a connection."""
        chat = cls(await context.new_page(), watch, base, user, device)
        await chat.visit()
        return chat

    @property
    def address(self) -> str:
        return f"{self.base}/?{urlencode({'user': self.user, 'device': self.device})}"

    async def visit(self) -> None:
        await self.page.goto(self.address)

    async def reload(self) -> None:
        """As F5 does; the conversation stays open."""
        await self.page.reload()

    async def another_tab(self) -> Self:
        """The same user and device once more in the same browser."""
        return await self.open(self.page.context, self.watch, self.base, self.user, self.device)

    def by(self, test_id: str) -> Locator:
        return self.page.get_by_test_id(test_id)

    # The connection

    async def is_state(self, state: str | re.Pattern[str]) -> None:
        """Waits for it."""
        await expect(self.connection).to_have_attribute("data-state", state)

    async def is_live(self) -> None:
        await self.is_state("live")

    async def go_offline(self) -> None:
        await self.by("go-offline").click()
        await self.is_state("offline")

    async def go_online(self) -> None:
        await self.by("go-online").click()
        await self.is_live()

    # Conversations

    def row(self, peer: str) -> Locator:
        return self.conversations.locator(f'[data-peer="{peer}"]')

    async def talk_to(self, peer: str) -> None:
        """Opens the conversation by the form, as for somebody one has never written to."""
        await self.by("new-conversation").fill(peer)
        await self.by("open-conversation").click()
        await self.is_open(peer)

    async def pick(self, peer: str) -> None:
        """Opens it from the list."""
        await self.row(peer).click()
        await self.is_open(peer)

    async def is_open(self, peer: str) -> None:
        """Waits for the composer of this conversation: that of the one before may still be there."""
        await expect(self.composer).to_have_attribute("placeholder", f"Message {peer}")

    # Messages

    async def write(self, *texts: str) -> None:
        """Sends each; they are in the log at once, in whatever state."""
        for text in texts:
            await self.composer.fill(text)
            await self.by("send").click()
            await expect(self.composer).to_have_value("")
            await expect(self.message(text).last).to_be_attached()

    def message(self, text: str) -> Locator:
        """All messages of the log with exactly this text."""
        return self.messages.filter(has=self.page.locator(".text", has_text=re.compile(f"^{re.escape(text)}$")))

    async def shows(self, *texts: str) -> None:
        """Waits until the log has these messages and no other, each once, in this order."""
        await expect(self.bodies).to_have_text([*texts])

    async def shows_in_any_order(self, *texts: str) -> None:
        """As `shows`, where nobody decides which of two senders is first."""
        await expect(self.bodies).to_have_count(len(texts))
        assert sorted(await self.bodies.all_inner_texts()) == sorted(texts)

    async def has_sent(self, *texts: str) -> None:
        """Waits until each of these own messages is accepted."""
        for text in texts:
            await expect(self.message(text)).to_have_attribute("data-state", OUT)

    async def is_in_state(self, text: str, state: str) -> None:
        await expect(self.message(text)).to_have_attribute("data-state", state)

    async def identities(self) -> list[Any]:
        """The ids of all messages in the log; each must stand once."""
        return [await one.get_attribute("data-id") for one in await self.messages.all()]

    async def is_read(self, text: str) -> None:
        """Waits until this own message's ticks are blue."""
        await expect(self.message(text)).to_have_attribute("data-seen", "true")

    # What is done to messages

    async def act(self, text: str, what: str) -> None:
        """Opens what can be done with a message, and chooses."""
        await self.message(text).hover()
        await self.message(text).get_by_test_id("actions").click()
        await self.message(text).get_by_test_id(what).first.click()

    async def react(self, text: str, emoji: str = "👍") -> None:
        await self.message(text).hover()
        await self.message(text).get_by_test_id("actions").click()
        await self.message(text).locator(f'[data-testid=react][data-emoji="{emoji}"]').click()

    async def edit(self, text: str, new: str) -> None:
        await self.act(text, "edit")
        await self.by("edit-text").fill(new)
        await self.by("save").click()
        await expect(self.message(new)).to_be_attached()

    async def delete(self, text: str) -> None:
        await self.act(text, "delete")
        await self.by("confirm-delete").click()
        await expect(self.message(text)).to_have_count(0)

    def reactions(self, text: str) -> Locator:
        return self.message(text).get_by_test_id("reaction")

    # Groups

    @property
    def events(self) -> Locator:
        """Lines of the log that say what happened to the group."""
        return self.log.get_by_test_id("event")

    async def make_group(self, name: str, *members: str) -> None:
        """By the form; it is open then."""
        await self.by("new-group").click()
        await self.by("group-name").fill(name)
        await self.by("group-members").fill(" ".join(members))
        await self.by("make-group").click()
        await self.is_open(name)

    async def pick_group(self, name: str) -> None:
        """Opens it from the list, as soon as one is told of it."""
        await self.conversations.get_by_role("button").filter(has_text=name).click()
        await self.is_open(name)

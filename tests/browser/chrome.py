"""Chromium as the tests and the screenshots start it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.async_api import Browser, BrowserContext, Error, Playwright, async_playwright, expect

from scripts.lab import processes
from scripts.lab.timing import PATIENCE
from scripts.tools import NO_CHROMIUM, chromium, headless
from tests.browser.watch import Watch

# The same everywhere, whatever the machine's own are.
CONTEXT: dict[str, Any] = {
    "locale": "en-GB",
    "timezone_id": "Europe/Berlin",
    "viewport": {"width": 1000, "height": 700},
    "reduced_motion": "reduce",
}

expect.set_options(timeout=PATIENCE * 1000)


def program(*, whole: bool = False) -> str:
    """The browser's path; skips the test where there is none. `whole`: with notifications."""
    path = chromium() if whole else headless()
    if path is None:
        pytest.skip(NO_CHROMIUM)
    return path


@contextlib.asynccontextmanager
async def driver() -> AsyncIterator[Playwright]:
    async with async_playwright() as playwright:
        yield playwright


@contextlib.asynccontextmanager
async def running(*, whole: bool = False) -> AsyncIterator[Browser]:
    """One browser, whose contexts know nothing of each other and are forgotten with it."""
    path = program(whole=whole)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path)
        yield browser
        await browser.close()


async def context_of(browser: Browser, **options: Any) -> tuple[BrowserContext, Watch]:
    """A fresh one: a person's browser."""
    context = await browser.new_context(**{**CONTEXT, **options})
    context.set_default_timeout(PATIENCE * 1000)
    return context, Watch(context)


class Profile:
    """A browser that keeps what pages store, in `folder`, and can be killed and started again."""

    def __init__(self, playwright: Playwright, folder: Path) -> None:
        self.folder = folder
        self.context: BrowserContext
        self.watch: Watch
        self._playwright = playwright

    async def start(self, **options: Any) -> None:
        self.context = await self._playwright.chromium.launch_persistent_context(
            self.folder, executable_path=program(), **{**CONTEXT, **options}
        )
        self.context.set_default_timeout(PATIENCE * 1000)
        self.watch = Watch(self.context)

    @property
    def pid(self) -> int:
        """Of the browser's first process, which holds the profile; Debian starts it from a script."""
        return next(
            child.pid
            for child in processes.descendants(psutil.Process().pid)
            if f"--user-data-dir={self.folder}" in (words := _words(child))
            and not any("--type=" in word for word in words)
            and Path(words[0]).name != "sh"
        )

    async def kill(self) -> None:
        """`kill -9`: no page hears of it. Returns when the last of its processes is gone."""
        await asyncio.to_thread(_kill, self.pid)
        await self.close()

    async def close(self) -> None:
        with contextlib.suppress(Error):  # of one that was killed
            await self.context.close()


def _kill(pid: int) -> None:
    family = processes.descendants(pid)
    processes.kill(pid)
    _, left = psutil.wait_procs(family, timeout=PATIENCE)
    assert not left, f"outlived the browser: {left}"


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []

"""The parent process: starts everything in its order, replaces what dies, stops everything in reverse.

Order: listening socket → embedded server (without `INBOXD_REDIS_URL`) → preflight → workers → "ready".
Stopping is cancellation of the one main task: every owner ends its own child on the way out, workers
before the server they write to. SIGHUP makes every worker new, one after the other, and stops nothing.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from service.config import Settings
from service.core.errors import Refused
from service.edge.configured_keys import check_keys
from service.embedded import EmbeddedServer, Say, embedded_server
from service.listening import listen
from service.store.preflight import preflight
from service.welcome import welcome
from service.worker_slot import Launch, WorkerSlot

WORKER = (sys.executable, "-m", "service.worker")

Preflight = Callable[[Settings], Awaitable[str]]


def say(line: str) -> None:
    """One line of progress. Nobody listening any more is no reason to stop serving."""
    with suppress(BrokenPipeError):
        print(f"inboxd: {line}", flush=True)  # noqa: T201 - the parent speaks on stdout


class Supervisor:
    """Runs the service until a signal ends it. `worker_command` and `preflight` can be exchanged in tests."""

    def __init__(
        self,
        settings: Settings,
        *,
        worker_command: tuple[str, ...] = WORKER,
        preflight: Preflight = preflight,
        say: Say = say,
    ) -> None:
        self.settings = settings
        self.worker_command = worker_command
        self.preflight = preflight
        self.say = say
        self.server: EmbeddedServer | None = None
        self.slots: list[WorkerSlot] = []
        self._signals = 0
        self._wanted = asyncio.Event()  # new workers
        self._terminal = _has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN

    async def run(self) -> int:
        """The exit code: 0 after a stop in order, 1 after a forced one. Raises Refused with the reason."""
        with self._listening_to_signals():
            try:
                await self._run()
            except asyncio.CancelledError:
                if not self._signals:
                    raise
            except BaseExceptionGroup as group:
                raise _first_refusal(group) from None
        self.say("stopped")
        return 0 if self._signals == 1 else 1

    async def _run(self) -> None:
        check_keys(self.settings)
        async with AsyncExitStack() as stack:
            listener = stack.enter_context(listen(self.settings.host, self.settings.port))
            metrics_dir = Path(stack.enter_context(TemporaryDirectory(prefix="inboxd-metrics-")))
            update: dict[str, object] = {"port": listener.getsockname()[1]}
            if self.settings.redis_url is None:
                self.server = await stack.enter_async_context(embedded_server(self.settings.data_dir, self.say))
                update["redis_url"] = self.server.url
            settings = self.settings.model_copy(update=update)
            level = await self.preflight(settings)
            launch = Launch(
                command=self.worker_command,
                settings=settings.environ(),
                listen_fd=listener.fileno(),
                metrics_dir=metrics_dir,
                drain=settings.drain_timeout,
            )
            async with asyncio.TaskGroup() as outlives_workers:
                if self.server is not None:
                    outlives_workers.create_task(self.server.keep())
                await self._keep_workers(launch, settings, level)

    async def _keep_workers(self, launch: Launch, settings: Settings, level: str) -> None:
        """Runs until cancelled; on leaving, all workers have drained."""
        self.slots = [WorkerSlot(launch, self.say) for _ in range(settings.workers)]
        async with asyncio.TaskGroup() as workers:
            for slot in self.slots:
                workers.create_task(slot.keep())
            for slot in self.slots:
                await slot.ready.wait()
            data = self.server.data.path if self.server else None
            self.say(welcome(settings, level, data))
            await self._renew_when_wanted()

    async def _renew_when_wanted(self) -> None:
        """Until cancelled: a worker drains only when its successor serves, and only then it is the next one's turn."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self.say("new workers, one after the other")
            for slot in self.slots:
                if not await slot.renew():
                    self.say("no more of them: what the last one said stands above")
                    break
            else:
                self.say("all workers are new")

    @contextmanager
    def _listening_to_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, task)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup, task)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _on_hangup(self, task: asyncio.Task[None]) -> None:
        """It has two senders: an operator, who wants new workers; and the kernel, when the terminal was closed."""
        if self._terminal and not _has_terminal():
            self._on_signal(task)
        else:
            self._wanted.set()

    def _on_signal(self, task: asyncio.Task[None]) -> None:
        self._signals += 1
        if self._signals == 1:
            self.say("stopping; once more to force it")
            task.cancel()
            return
        self.say("killing everything")
        for slot in self.slots:
            slot.kill()
        if self.server is not None:
            self.server.kill()


def _has_terminal() -> bool:
    return any(os.isatty(fd) for fd in range(3))


def _first_refusal(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The refusal to be told; the group itself where there is something else in it, which is a bug."""
    refusals, others = group.split(Refused)
    if refusals is None or others is not None:
        return group
    first: BaseException = refusals
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first

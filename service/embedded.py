"""The embedded server: a private Valkey (or Redis) on the loopback, its data in one directory.

It is started once, by the parent, before the workers. Every acceptance is on the disk before it is
answered (`appendfsync always`: one fsync serves a whole batch), and nothing is ever evicted.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from service.child import end, ending, spawn
from service.core.backoff import Backoff
from service.core.errors import Refused
from service.data_dir import HOST, LOG, DataDir
from service.server_binary import ServerBinary, find_binary

Say = Callable[[str], None]

SETTINGS = {
    "bind": HOST,
    "protected-mode": "yes",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",  # else a rewrite would suspend the promise
    "auto-aof-rewrite-min-size": str(256 << 20),  # at 64 MB a busy one is rewritten every 6 s
    "aof-load-truncated": "yes",  # half a command at the end was never answered
    "save": "",  # the AOF is the one truth
    "hash-max-listpack-entries": "128",  # 512 without a file: an append is up to half as dear again for 30 bytes less
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
}

MALLOC = "glibc.malloc.tcache_count=4000"
"""For a binary that allocates by the system's C library: a batch of messages is thousands of small strings, and of each
size the library keeps seven at hand. Some 10 MiB (130 if every size came so often), and a sixth of the server's CPU.
Others ignore it.
"""

_STOP_PATIENCE = 30.0  # seconds; with every write on the disk already, a kill after that loses nothing
_STEADY = 10.0  # seconds up that make the next death a first one again
_POLL = 0.02  # seconds between two questions whether it answers
_SILENCE = 30.0  # seconds without any answer until a start counts as failed


def _environment() -> dict[str, str]:
    """Ours without the service's settings, some of which are secret; an unknown locale would keep it from starting."""
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("INBOXD_")}
    return {"GLIBC_TUNABLES": MALLOC, **clean, "LC_ALL": "C"}


class EmbeddedServer:
    """One server process at a time, always on the same data and the same port.

    `start` again after `wait` has returned. It dies with this process.
    """

    def __init__(self, data: DataDir, binary: ServerBinary, say: Say) -> None:
        self.data = data
        self.binary = binary
        self.say = say
        self.process: asyncio.subprocess.Process | None = None

    @property
    def port(self) -> int:
        return self.data.stamp.port

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    async def start(self) -> None:
        """Starts the process and waits until it answers. Raises Refused with its last log lines otherwise."""
        self.process = await spawn(
            self._command(),
            env=_environment(),
            fds=(self.data.lock_fd,),
            stdout=asyncio.subprocess.DEVNULL,  # it writes to its log file
        )
        try:
            await self._until_ready(self.process)
        except BaseException:
            await self.stop()
            raise
        self.data.mark_started(self.binary)

    async def wait(self) -> int:
        """The exit code, when the process has ended (negative: the signal it died of)."""
        assert self.process is not None, "not started"
        return await self.process.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help; returns when the process has ended."""
        if self.process is not None:
            await end(self.process, _STOP_PATIENCE)

    def kill(self) -> None:
        """Ends the process at once."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()

    async def keep(self) -> None:
        """Starts the server again whenever it dies, until cancelled; then stops it."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(first=0.2, most=5.0)
        try:
            while True:
                since = loop.time()
                code = await self.wait()
                if loop.time() - since >= _STEADY:
                    backoff.reset()
                self.say(f"the embedded server has ended ({ending(code)}); starting it on the same data")
                await asyncio.sleep(backoff.wait(random.random()))
                try:
                    await self.start()
                    self.say("the embedded server is back")
                except Refused as error:
                    self.say(str(error))
        finally:
            await self.stop()

    def _command(self) -> list[str]:
        command = [str(self.binary.path)]
        for name, value in SETTINGS.items():
            command += [f"--{name}", value]
        return [*command, "--port", str(self.port), "--dir", str(self.data.path), "--logfile", LOG]

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.create_task(process.wait())
        ready = asyncio.create_task(self._poll(process.pid))
        try:
            await asyncio.wait((ended, ready), return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise Refused(
                    f"The embedded server did not start ({ending(ended.result())}). "
                    f"The end of {self.data.path / LOG}:\n{self.data.log_tail()}"
                )
            ready.result()
        finally:
            ended.cancel()
            ready.cancel()
            await asyncio.wait((ended, ready))

    async def _poll(self, pid: int) -> None:
        """Returns when the server answers. Tells how far it has come while it loads its data."""
        loop = asyncio.get_running_loop()
        heard, told = loop.time(), ""
        while True:
            info = await ask_info(self.port)
            if info:
                heard = loop.time()
                if info.get("process_id") != str(pid):
                    raise Refused(f"Something else answers on the embedded server's port {self.port}.")
                if info.get("loading") == "0":
                    return
                percent = info.get("loading_loaded_perc", "?").partition(".")[0]
                if percent != told:
                    told = percent
                    self.say(f"the embedded server loads its data: {percent} %")
            elif loop.time() - heard > _SILENCE:
                raise Refused(
                    f"The embedded server has not answered for {_SILENCE:.0f} s. "
                    f"The end of {self.data.path / LOG}:\n{self.data.log_tail()}"
                )
            await asyncio.sleep(_POLL)


@asynccontextmanager
async def embedded_server(path: Path, say: Say = print) -> AsyncIterator[EmbeddedServer]:
    """A started server on the data in `path`, stopped at the end. Raises Refused when that cannot be."""
    binary = find_binary()
    with await DataDir.open(path.absolute(), binary, say) as data:
        server = EmbeddedServer(data, binary, say)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


async def ask_info(port: int) -> dict[str, str]:
    """What INFO says, by a plain socket; empty while nobody answers. Also answered while data is loaded."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(b"INFO\r\n")
                head = await reader.readline()  # "$4711", or "-ERR …"
                if not head.startswith(b"$"):
                    return {}
                text = (await reader.readexactly(int(head[1:]))).decode(errors="replace")
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError):
        return {}
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

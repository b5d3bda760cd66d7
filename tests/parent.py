"""The parent process under test, with stub workers: started for real, its lines awaited, cleaned up by pid.

Run as a program it is that parent: settings from the environment, the workers' behaviour its argument.
"""

import asyncio
import json
import os
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from scripts.lab.processes import descendants
from scripts.lab.timing import PATIENCE
from service.config import Settings
from service.core.errors import Refused
from service.supervisor import Supervisor

ROOT = Path(__file__).parent.parent
MARK = "TEST_STARTED_BY"
STUB = Path(__file__).with_name("stub_worker.py")


class Parent:
    """A running parent. `output`: what was read of its lines so far."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        self.output = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def server(self) -> psutil.Process:
        """The embedded server."""
        return next(child for child in descendants(self.pid) if "-server" in child.name())

    @property
    def server_port(self) -> int:
        connections = self.server.net_connections()
        return next(one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN)

    @property
    def workers(self) -> list[psutil.Process]:
        return [child for child in descendants(self.pid) if STUB.name in " ".join(child.cmdline())]

    async def says(self, words: str) -> str:
        """Reads on until a line with these words, and gives that line. Fails when the output ends before."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while line := (await self.process.stdout.readline()).decode():
                self.output += line
                if words in line:
                    return line
        raise AssertionError(f"never said {words!r}, but:\n{self.output}")

    async def ends(self) -> int:
        """The exit code, when it has ended; all it said is then in `output`."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                while line := await self.process.stdout.readline():
                    self.output += line.decode()
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"never ended, but said:\n{self.output}") from None

    async def ask(self) -> dict[str, Any]:
        """What a worker answers a connection with."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                answer: dict[str, Any] = json.loads(await reader.read())
            finally:
                writer.close()
                await writer.wait_closed()
        return answer


@asynccontextmanager
async def running(
    port: int, data: Path, behaviour: str = "serve", stdin: int | None = None, **environ: str
) -> AsyncIterator[Parent]:
    """A parent that has just been started; killed with all its children at the end, if they are still there."""
    settings = {"INBOXD_PORT": str(port), "INBOXD_DATA_DIR": str(data), "PYTHONPATH": str(ROOT)}
    mark = uuid.uuid4().hex
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.parent", behaviour),
        stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **settings, **environ, MARK: mark},
        cwd=ROOT,
    )
    try:
        yield Parent(process, port)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        for left in marked(mark):
            with suppress(psutil.NoSuchProcess):
                left.kill()
        await process.communicate()  # ends only when nothing holds its output open


def marked(mark: str) -> list[psutil.Process]:
    """All processes that were started from one `running`, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


async def _no_preflight(settings: Settings) -> str:
    return "unchecked"


def main(behaviour: str) -> int:
    command = (sys.executable, "-I", "-S", str(STUB), behaviour)
    supervisor = Supervisor(Settings(), worker_command=command, preflight=_no_preflight)
    try:
        return asyncio.run(supervisor.run())
    except Refused as error:
        print(error)  # noqa: T201 - to the test
        return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

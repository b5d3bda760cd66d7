"""ejabberd as Debian has it: one node on all cores, XEP-0198 with resumption, offline storage in Mnesia on disk."""

import contextlib
import re
import shutil
import socket
import subprocess
from pathlib import Path

from scripts.bench.peers.nodes import LOOPBACK, Child
from scripts.bench.peers.peer import Client
from scripts.bench.peers.xmpp import OPEN, XmppClient
from scripts.lab.ports import free_port
from scripts.lab.processes import descendants, is_alive
from scripts.lab.timing import PATIENCE, eventually

LIBRARIES = Path("/usr/lib")
ANSWER = 5.0  # s

# Nothing that is not needed, nothing that slows down: what each line does.
CONFIGURATION = """\
loglevel: none                        # no logs
hosts: [localhost]
listen:
  -
    port: {port}
    ip: {host}
    module: ejabberd_c2s
    starttls: false                   # loopback; no peer pays for TLS
    max_stanza_size: infinity
    max_fsm_queue: 100000             # what may wait for one session before the server ends it
    shaper: none                      # reads from a socket as fast as it can
    access: all
    backlog: 4096
auth_method: internal                 # accounts in Mnesia
auth_password_format: plain           # no SCRAM rounds: a log-in costs little, and is in no measure anyway
registration_timeout: infinity        # one address may register as often as it likes
max_fsm_queue: 100000
queue_type: ram                       # of unacked stanzas: files of that kind do not outlive the server either
shaper_rules:
  max_user_sessions: infinity
  max_user_offline_messages: infinity # without a quota nothing is counted when a message is stored
modules:
  mod_offline:
    access_max_user_messages: max_user_offline_messages
    db_type: mnesia
  mod_stream_mgmt:
    max_ack_queue: infinity           # a slow client is not cut off
    ack_timeout: infinity
    resume_timeout: 300               # s: for so long a lost session waits for its client
    max_resume_timeout: 300
    resend_on_timeout: true           # then, or when another takes its place, what it has not acked is sent again
  mod_register:                       # XEP-0077: a client registers when it comes for the first time
    access: all
    access_from: all
    ip_access: all
    password_strength: 0
"""

# Stored messages: in memory, with a log on disk, the more durable kind of table. What ejabberd takes by itself, a table
# on disk alone, is written back late: a SIGKILL took all of 2,000 stored messages, from this one 20 to 30. It also
# costs twice as much; with either kind a message costs the more, the more wait for the same user already.
SCHEMA = """\
offline_msg:
  storage_type: disc_copies
"""

STARTING = 3 * PATIENCE
"""Seconds: a busy machine is long about all that Erlang loads."""


class Ejabberd:
    name = "ejabberd"
    confirms = "handled: in the memory of the recipient's session, or stored by Mnesia (not fsynced)"
    keeps = 20_000  # no quota; but 10,000 for one user take 10 s of CPU to store, and 100,000 a hundred times as long
    in_full = True
    redis_url = ""

    def __init__(self) -> None:
        self._port = 0
        self._node: Child | None = None

    def missing(self) -> str:
        if shutil.which("erl") and home() is not None:
            return ""
        return "ejabberd is not here: apt-get install ejabberd"

    def start(self, folder: Path) -> None:
        self._port = free_port()
        (folder / "ejabberd.yml").write_text(CONFIGURATION.format(port=self._port, host=LOOPBACK))
        (folder / "ejabberd.schema").write_text(SCHEMA)
        self._node = Child(command(folder), environment(folder), folder / "output")
        self._run(self._node)

    def _run(self, node: Child) -> None:
        node.start()
        eventually(self._answers, "ejabberd answers", STARTING)

    def _answers(self) -> bool:
        """It listens long before it is ready, so an answer is waited for."""
        self.node.check()
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self._port), ANSWER) as probe:
            probe.sendall(OPEN.encode())
            return probe.recv(1) != b""
        return False

    @property
    def node(self) -> Child:
        assert self._node is not None, "not started"
        return self._node

    @property
    def pids(self) -> list[int]:
        """The node, and the helpers it starts (which do nothing here)."""
        return [self.node.pid, *(child.pid for child in descendants(self.node.pid))]

    @property
    def versions(self) -> dict[str, str]:
        libraries = home()
        assert libraries is not None, self.missing()
        release = subprocess.run(
            ["erl", "-noinput", "-eval", "io:put_chars(erlang:system_info(otp_release)), halt()."],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        )
        return {"ejabberd": version(libraries), "Erlang/OTP": release.stdout.strip()}

    def client(self, user: str) -> Client:
        return XmppClient(LOOPBACK, self._port, user)

    def kill_one(self) -> None:
        """The node is all there is; started again on the same spool, as its service manager would do."""
        self._end()
        self._run(self.node)

    def stop(self) -> None:
        if self._node is not None:
            self._end()

    def _end(self) -> None:
        """SIGKILL to the node; its helpers end when its pipes do."""
        helpers = descendants(self.node.pid)
        self.node.kill()
        eventually(lambda: not any(is_alive(helper.pid) for helper in helpers), "the helpers of ejabberd ended")


def command(folder: Path) -> list[str]:
    """Without `-name`: a node of no cluster, which needs no cookie, no epmd, and opens no port for either."""
    return [
        *("erl", "-noinput"),
        *("+P", "250000"),  # Erlang processes, as Debian sets it
        *("+Q", "65536"),  # sockets and files
        *("-mnesia", "dir", f'"{folder}/spool"'),
        *("-s", "ejabberd"),
        # The schema file is heeded from the second start on only.
        *("-eval", "mnesia:change_table_copy_type(offline_msg, node(), disc_copies)."),
    ]


def environment(folder: Path) -> dict[str, str]:
    libraries = home()
    assert libraries is not None, "ejabberd is not here"
    return {
        "HOME": str(folder),
        "ERL_LIBS": str(libraries.parent),
        "ERL_CRASH_DUMP_BYTES": "0",
        "EJABBERD_CONFIG_PATH": str(folder / "ejabberd.yml"),
        "EJABBERD_MNESIA_SCHEMA": str(folder),  # where `ejabberd.schema` is
        "EJABBERD_LOG_PATH": str(folder / "ejabberd.log"),
    }


def home() -> Path | None:
    """Where Debian keeps it: /usr/lib/<machine>/ejabberd-<version>."""
    return next((found.parents[1] for found in sorted(LIBRARIES.glob("*/ejabberd-*/ebin/ejabberd.app"))), None)


def version(libraries: Path) -> str:
    application = (libraries / "ebin" / "ejabberd.app").read_text()
    found = re.search(r'\{vsn,\s*"([^"]+)"', application)
    return found[1] if found else "unknown"

"""ejabberd as Debian has it: one node on all cores, XEP-0198 with resumption, offline storage in Mnesia on disk."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import psutil

from scripts.bench.peers.xmpp import XmppClient
from scripts.lab.ports import free_port
from scripts.lab.processes import die_with_parent, is_alive, kill
from scripts.lab.timing import eventually

HOST = "127.0.0.1"
LIBRARIES = Path("/usr/lib")
NO_FILES = 65536

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
    db_type: mnesia                   # a table of which only the disk has a copy: the most durable kind there is
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


class Ejabberd:
    name = "ejabberd"
    confirms = "handled: in the memory of the recipient's session, or stored in Mnesia (not fsynced)"
    keeps = 10**6  # no quota

    def __init__(self) -> None:
        self._folder = Path()
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def missing(self) -> str:
        if shutil.which("erl") and home() is not None:
            return ""
        return "ejabberd is not here: apt-get install ejabberd"

    def start(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        (folder / "ejabberd.yml").write_text(CONFIGURATION.format(port=self._port, host=HOST))
        self._run()

    def _run(self) -> None:
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env=self._environment(),
                preexec_fn=die_with_parent,  # noqa: PLW1509 - the benchmark has no other thread
            )
        eventually(self._listens, "ejabberd listens")

    def _command(self) -> list[str]:
        """Without `-name`: a node of no cluster, which needs no cookie, no epmd, and opens no port for either."""
        return [
            *("erl", "-noinput"),
            *("+P", "250000"),  # Erlang processes, as Debian sets it
            *("+Q", str(NO_FILES)),  # sockets and files
            *("-mnesia", "dir", f'"{self._folder}/spool"'),
            *("-s", "ejabberd"),
        ]

    def _environment(self) -> dict[str, str]:
        libraries = home()
        assert libraries is not None, self.missing()
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "ERL_LIBS": str(libraries.parent),
            "ERL_CRASH_DUMP_BYTES": "0",
            "EJABBERD_CONFIG_PATH": str(self._folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self._folder / "ejabberd.log"),
        }

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError((self._folder / "output").read_text(errors="replace"))
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self._port)) == 0

    @property
    def pids(self) -> list[int]:
        """The node, and the helpers it starts (which do nothing here)."""
        assert self._process is not None
        node = psutil.Process(self._process.pid)
        return [node.pid, *(child.pid for child in node.children(recursive=True))]

    @property
    def versions(self) -> dict[str, str]:
        libraries = home()
        assert libraries is not None, self.missing()
        release = subprocess.run(
            ["erl", "-noinput", "-eval", "io:put_chars(erlang:system_info(otp_release)), halt()."],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            env=self._environment(),
        )
        return {"ejabberd": version(libraries), "Erlang/OTP": release.stdout.strip()}

    def client(self, user: str) -> XmppClient:
        return XmppClient(HOST, self._port, user)

    def kill_one(self) -> None:
        """The node is all there is; started again on the same spool, as its service manager would do."""
        self._end()
        self._run()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._end()

    def _end(self) -> None:
        """SIGKILL to the node; its helpers end when its pipes do."""
        assert self._process is not None
        helpers = self.pids[1:]
        kill(self._process.pid)
        self._process.wait()
        eventually(lambda: not any(map(is_alive, helpers)), "the helpers of ejabberd ended")


def home() -> Path | None:
    """Where Debian keeps it: /usr/lib/<machine>/ejabberd-<version>."""
    return next((found.parents[1] for found in sorted(LIBRARIES.glob("*/ejabberd-*/ebin/ejabberd.app"))), None)


def version(libraries: Path) -> str:
    application = (libraries / "ebin" / "ejabberd.app").read_text()
    found = re.search(r'\{vsn,\s*"([^"]+)"', application)
    return found[1] if found else "unknown"

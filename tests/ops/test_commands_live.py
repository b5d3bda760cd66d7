"""The commands as an operator types them, against a running service: processes, pipes and signals."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from scripts.lab import processes
from scripts.lab.service import ROOT, Service
from scripts.lab.timing import PATIENCE, eventually

Run = Callable[..., subprocess.CompletedProcess[str]]
Named = Callable[[str], str]


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "service.cli", *words]


def environment(service: Service) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("INBOXD_")}
    return clean | {"INBOXD_PORT": str(service.port), "INBOXD_DATA_DIR": str(service.home / "data")}


@pytest.fixture
def inboxd(service: Service) -> Run:
    """Runs a command to its end."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*words),
            cwd=ROOT,
            env=environment(service),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    return run


class Tail:
    """A running `inboxd tail`; its outputs are files."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder

    @property
    def texts(self) -> list[str]:
        return [line.split("\t")[-1] for line in (self.folder / "out").read_text().splitlines()]

    @property
    def notes(self) -> str:
        return (self.folder / "err").read_text()

    def until_live(self, times: int = 1) -> None:
        eventually(lambda: self.notes.count("live at") >= times, "tail is live")

    def until(self, *texts: str) -> None:
        eventually(lambda: self.texts == list(texts), f"tail shows {texts}, but {self.texts}\n{self.notes}")

    def ended(self) -> int:
        return self.process.wait(PATIENCE)


@pytest.fixture
def tail(service: Service, tmp_path: Path) -> Iterator[Callable[..., Tail]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> Tail:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            started.append(
                subprocess.Popen(command("tail", *words), cwd=ROOT, env=environment(service), stdout=out, stderr=err)
            )
        return Tail(started[-1], folder)

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait(PATIENCE)


def test_what_is_sent_is_tailed_acked_and_stays_in_the_inbox(
    inboxd: Run, tail: Callable[..., Tail], named: Named
) -> None:
    bob, alice = named("bob"), named("alice")
    follower = tail(bob)
    follower.until_live()
    for text in ("one", "two"):
        sent = inboxd("send", "--from", alice, bob, text)
        assert sent.returncode == 0, sent.stderr
        assert "accepted at" in sent.stdout
        assert "fsynced" in sent.stdout
    follower.until("one", "two")

    def acked() -> bool:
        view = json.loads(inboxd("inbox", bob, "--json").stdout)
        device = view["devices"][0]
        assert device["device"] == "tail"
        assert device["worker"].startswith("w-")
        assert [entry["body"]["text"] for entry in view["entries"]] == ["one", "two"]
        return bool(view["pending"] == 0 and device["behind"] == 0)

    eventually(acked, "both are acked")


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_tail_ends_cleanly_by_a_signal(
    tail: Callable[..., Tail], inboxd: Run, named: Named, number: signal.Signals
) -> None:
    bob = named("bob")
    follower = tail(bob)
    follower.until_live()
    follower.process.send_signal(number)
    assert follower.ended() == 0
    assert "Traceback" not in follower.notes

    def offline() -> bool:
        return bool(json.loads(inboxd("inbox", bob, "--json").stdout)["devices"][0]["worker"] is None)

    eventually(offline, "its claim is released")


def test_tail_survives_the_death_of_its_worker(
    service: Service, inboxd: Run, tail: Callable[..., Tail], named: Named
) -> None:
    bob = named("bob")
    follower = tail(bob)
    follower.until_live()
    assert inboxd("send", "--from", "alice", bob, "before").returncode == 0
    follower.until("before")
    online = json.loads(inboxd("workers", "--who", "--json").stdout)
    (at,) = [row["worker"] for row in online["online"] if row["user"] == bob]
    (pid,) = [row["pid"] for row in online["workers"] if row["worker"] == at]
    processes.kill(pid)
    assert inboxd("send", "--from", "alice", bob, "meanwhile").returncode == 0
    follower.until("before", "meanwhile")
    follower.until_live(2)
    assert "connecting again" in follower.notes
    service.await_ready()


def test_a_second_tail_of_the_same_device_replaces_the_first(tail: Callable[..., Tail], named: Named) -> None:
    bob = named("bob")
    first = tail(bob)
    first.until_live()
    second = tail(bob)
    second.until_live()
    assert first.ended() == 1
    assert "closed 4509" in first.notes
    assert second.process.poll() is None


def test_an_operator_who_kicks_is_obeyed(service: Service, tail: Callable[..., Tail], named: Named) -> None:
    bob = named("bob")
    follower = tail(bob)
    follower.until_live()
    asking = {"X-Inboxd-User": "operator"}
    assert httpx2.delete(f"{service.url}/v1/ops/connections/{bob}", headers=asking).status_code == 204
    assert follower.ended() == 1
    assert "closed 4510" in follower.notes


def test_tail_without_acks_leaves_everything_waiting(inboxd: Run, named: Named) -> None:
    bob = named("bob")
    for text in ("one", "two"):
        inboxd("send", "--from", "alice", bob, text)
    for _ in range(2):
        shown = inboxd("tail", bob, "--no-ack", "-n", "2", "--json")
        frames = [json.loads(line) for line in shown.stdout.splitlines()]
        assert [frame["body"]["text"] for frame in frames if frame["type"] == "message"] == ["one", "two"]
    assert json.loads(inboxd("inbox", bob, "--json").stdout)["pending"] == 2


def test_tail_ends_when_the_reader_of_its_output_has_left(service: Service, inboxd: Run, named: Named) -> None:
    bob = named("bob")
    inboxd("send", "--from", "alice", bob, "one")
    with subprocess.Popen(
        command("tail", bob), cwd=ROOT, env=environment(service), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().endswith(b"\tone\n")
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert b"Traceback" not in process.stderr.read()


def test_a_refused_send_and_a_name_that_is_none_are_bad_news(inboxd: Run, named: Named) -> None:
    bob = named("bob")
    assert inboxd("send", "--from", "alice", bob, "one", "--id", "m-1").returncode == 0
    assert "accepted before" in inboxd("send", "--from", "alice", bob, "one", "--id", "m-1").stdout
    reused = inboxd("send", "--from", "alice", bob, "two", "--id", "m-1")
    assert reused.returncode == 1
    assert "id_reused" in reused.stderr
    assert inboxd("send", "--from", "alice", "b{b", "x").returncode == 1
    nameless = inboxd("tail", "b{b")
    assert nameless.returncode == 1
    assert "not coming back" in nameless.stderr


def test_doctor_is_content_and_workers_are_at_rest(service: Service, inboxd: Run) -> None:
    service.await_ready()
    doctor = inboxd("doctor", "--json")
    assert doctor.returncode == 0, doctor.stdout
    findings = json.loads(doctor.stdout)["findings"]
    checks = {finding["check"] for finding in findings if not finding["check"].startswith("worker w-")}
    assert {finding["level"] for finding in findings if finding["check"] in checks} == {"ok"}

    def at_rest() -> bool:
        rows = json.loads(inboxd("workers", "--json").stdout)["workers"]
        return len(rows) == 2 and all(row["lag"] == 0 for row in rows)

    eventually(at_rest, "two workers that have read everything")


def test_sending_goes_on_trying_while_the_server_is_away(
    service: Service, inboxd: Run, tail: Callable[..., Tail], named: Named
) -> None:
    bob = named("bob")
    follower = tail(bob)
    follower.until_live()
    server = service.server_pid
    assert server is not None
    processes.pause(server)
    with subprocess.Popen(
        command("send", "--from", "alice", bob, "patience"),
        cwd=ROOT,
        env=environment(service),
        stdout=subprocess.PIPE,
    ) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        processes.kill(server)
        assert process.wait(PATIENCE) == 0
    follower.until("patience")
    service.await_ready()

"""The runner believes nothing: a fault that did not happen, a loss, a client that failed are all found."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from scripts.chaos import __main__ as command
from scripts.chaos.checker import violations
from scripts.chaos.crowd import Cast
from scripts.chaos.grounds import PREFIX, Ground
from scripts.chaos.history import load
from scripts.chaos.runner import Result, run
from scripts.chaos.stage import Scenario, Stage
from scripts.lab.processes import descendants, is_alive, pause
from scripts.lab.timing import PATIENCE, eventually

SMALL = Cast(users=2, single=1, batches=0, sockets=0, others=())
ROOT = Path(__file__).parents[3]


def thief(stage: Stage[Ground]) -> None:
    """Takes an entry out of the middle of an inbox, and makes its reader forget that it has read it."""
    user, workers = stage.crowd.users[0], [worker.pid for worker in stage.ground.service.workers()]
    with stage.ground.client() as client, stage.fault():
        for pid in workers:  # an ack on its way would put the cursor back
            pause(pid)
        entries = client.xrange(f"{PREFIX}inbox:{{{user}}}")
        client.xdel(f"{PREFIX}inbox:{{{user}}}", entries[len(entries) // 2][0])
        client.hdel(f"{PREFIX}cursors:{{{user}}}", "phone")  # all of it is replayed
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
    stage.prove(True, "an entry was taken")


def idler(stage: Stage[Ground]) -> None:
    with stage.fault():
        stage.prove(False, "the moon came down")


def stumbler(stage: Stage[Ground]) -> None:
    raise LookupError("the fault could not be made")


@pytest.fixture
def played(request: pytest.FixtureRequest, tmp_path: Path) -> Result:
    """The result of a small scenario that plays the test's parameter."""
    return run(Scenario("small", "", request.param, cast=SMALL), seed=1, seconds=1, folder=tmp_path)


@pytest.mark.parametrize("played", (thief,), indirect=True)
def test_an_entry_that_was_taken_out_of_an_inbox_fails_the_scenario_and_keeps_the_history(played: Result) -> None:
    assert any(fault.startswith("gap: user0/phone was told deleted") for fault in played.faults), played.faults
    assert played.history is not None
    records = load(played.history.read_text().splitlines()).records
    assert set(violations(records, [("user0", "phone")], played.scenario.promise)) <= set(played.faults)
    assert played.figures.accepted > 0


@pytest.mark.parametrize("played", (idler,), indirect=True)
def test_a_scenario_whose_fault_did_not_happen_fails(played: Result) -> None:
    assert played.faults == ["did not happen: the moon came down"]


@pytest.mark.parametrize("played", (stumbler,), indirect=True)
def test_a_scenario_that_breaks_fails_and_leaves_nothing_running(played: Result) -> None:
    assert any("LookupError in stumbler" in fault for fault in played.faults)
    assert not any(fault.startswith("left:") for fault in played.faults)


def test_a_scenario_that_cannot_run_says_why() -> None:
    told = run(Scenario("never", "", idler, hindrance=lambda: "no moon here"), 1, 1, Path("/nowhere"))
    assert told.skipped == "no moon here"
    assert told.passed


def test_the_exit_code_tells_of_failures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fine, bad = Scenario("fine", "", idler), Scenario("bad", "", idler)
    results = {"fine": Result(fine), "bad": Result(bad, faults=["lost: everything"])}
    monkeypatch.setattr(command, "SCENARIOS", {"fine": fine, "bad": bad})
    monkeypatch.setattr(command, "run", lambda one, *_: results[one.name])
    page = tmp_path / "page.md"
    assert command.main(["fine", "--seed", "7", "--keep", str(tmp_path)]) == 0
    assert command.main(["--seed", "7", "--keep", str(tmp_path), "--report", str(page)]) == 1
    assert "lost: everything" in page.read_text()
    with pytest.raises(SystemExit) as wrong:
        command.main(["nonsense"])
    assert wrong.value.code == 2


def interrupted(run: "subprocess.Popen[str]") -> str:
    """Ctrl-C, and once more after a while, as people do; what it told until its end."""
    while True:
        run.send_signal(signal.SIGINT)
        try:
            return run.communicate(timeout=PATIENCE / 3)[0]
        except subprocess.TimeoutExpired:
            continue


def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "scripts.chaos", "comers-and-goers", "--keep", str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as run:
        seen: list[psutil.Process] = []

        def busy() -> bool:
            seen[:] = descendants(run.pid)
            return len(seen) >= 4  # the server, the parent, two workers

        eventually(busy, "the service runs")
        told = interrupted(run)
    assert run.returncode == 130
    assert "interrupted" in told
    assert not [child for child in seen if is_alive(child.pid)]

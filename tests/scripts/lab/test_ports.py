"""No two processes are given one port."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.lab import ports

ROOT = Path(__file__).parents[3]

TAKE = "import sys; from scripts.lab import ports; print(ports._taken(int(sys.argv[1])))"


def taken_elsewhere(port: int) -> str:
    command = [sys.executable, "-c", TAKE, str(port)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere luck has to do")
def test_a_port_that_was_given_out_is_given_to_nobody_else_while_its_process_lives() -> None:
    port = ports.free_port()
    assert ports.is_free(port)
    assert not ports._taken(port)
    assert taken_elsewhere(port) == "False"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere luck has to do")
def test_it_is_free_again_when_the_process_has_ended() -> None:
    port = next(port for port in range(32_001, 32_100) if taken_elsewhere(port) == "True")
    assert taken_elsewhere(port) == "True"

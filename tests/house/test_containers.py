"""compose.yaml and Dockerfile, as far as they can be judged without an engine."""

import asyncio
import json
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import yaml

from scripts.lab.ports import free_port
from scripts.lab.timing import eventually_async
from service.config import Settings
from service.server_binary import find_binary
from service.store.preflight import preflight
from tests.house.tree import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
VALKEY = COMPOSE["services"]["valkey"]
INBOXD = COMPOSE["services"]["inboxd"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")


def can_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_compose(), reason="there is no docker compose")
def test_compose_takes_the_file() -> None:
    subprocess.run(["docker", "compose", "--file", "compose.yaml", "config", "--quiet"], check=True, cwd=ROOT)


@pytest.mark.parametrize("service", (VALKEY, INBOXD), ids=("valkey", "inboxd"))
def test_nothing_is_published_beyond_the_host(service: dict[str, Any]) -> None:
    assert service["network_mode"] == "host"
    assert "ports" not in service


def test_the_service_waits_for_the_server_it_is_told_of() -> None:
    assert INBOXD["depends_on"]["valkey"]["condition"] == "service_healthy"
    port = INBOXD["environment"]["INBOXD_REDIS_URL"].split(":")[-1].split("/")[0]
    assert port in shlex.split(VALKEY["command"])
    assert port in VALKEY["healthcheck"]["test"]


def test_its_environment_holds_settings_only() -> None:
    names = {f"INBOXD_{name.upper()}" for name in Settings.model_fields}
    assert set(INBOXD["environment"]) <= names


def test_it_is_given_longer_to_stop_than_its_workers_to_drain() -> None:
    assert float(INBOXD["stop_grace_period"].removesuffix("s")) > Settings.model_fields["drain_timeout"].default + 5


@pytest.fixture
async def composed_server(tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a server that was given the command of compose.yaml, on another port."""
    port = free_port()
    words = shlex.split(VALKEY["command"].replace("6390", str(port)))
    assert words[0] == "valkey-server"
    process = await asyncio.create_subprocess_exec(find_binary().path, *words[1:], cwd=tmp_path)
    client = redis.asyncio.Redis(port=port)

    async def answers() -> bool:
        try:
            return bool(await client.ping())
        except redis.ConnectionError:
            return False

    try:
        await eventually_async(answers, "the server answers")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        await client.aclose()
        process.terminate()
        await process.wait()


async def test_a_server_started_by_its_command_keeps_the_promise(composed_server: str) -> None:
    wanted = INBOXD["environment"]["INBOXD_DURABILITY"]
    assert await preflight(Settings(redis_url=composed_server, durability=wanted)) == "fsynced"


def test_the_image_holds_what_the_package_needs() -> None:
    lines = [words for words in DOCKERFILE.splitlines() if words.startswith("COPY") and "--from" not in words]
    copied = [words.split()[1:-1] for words in lines]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists(), name
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for names in copied for name in names} <= allowed


def test_the_images_health_check_is_a_program() -> None:
    line = next(line for line in DOCKERFILE.splitlines() if line.startswith("HEALTHCHECK"))
    command = json.loads(line[line.index("[") :])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "healthcheck", "exec")


def test_the_image_does_not_run_as_root() -> None:
    assert "USER inboxd" in DOCKERFILE

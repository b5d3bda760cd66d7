"""The table of what was counted: plain text, a row for each run."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

PLACE = Path(__file__).with_name("recorded.txt")
WIDTH = 46
HEAD = """\
# Calls for each message, as `python -m tests.work` counted them last. Which run is what: tests/work/runs.py.
# service: of Python functions of the service; libraries: of those installed; scripts: of Lua scripts;
# server: of all other commands, whoever called them, inside scripts or out.
"""


@dataclass(frozen=True)
class Work:
    """Calls for each message."""

    service: float
    libraries: float
    scripts: float
    server: float


COLUMNS = [field.name for field in fields(Work)]


def written(rows: Mapping[str, Work]) -> str:
    head = f"{'':<{WIDTH}}" + "".join(f"{name:>10}" for name in COLUMNS)
    lines = [f"{name:<{WIDTH}}" + "".join(f"{value:>10.2f}" for value in astuple(work)) for name, work in rows.items()]
    return HEAD + "\n".join([head, *lines]) + "\n"


def read(text: str) -> dict[str, Work]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")][1:]
    return {line[:WIDTH].strip(): Work(*map(float, line[WIDTH:].split())) for line in lines}

"""Reads `docs/operators.md`: its key table, and the commands of each section with what they show."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"

_HEADING = re.compile(r"#{2,3} (.*)")
_FENCE = re.compile(r"( *)```(\w*)")


@dataclass(frozen=True)
class Shown:
    """One command line (without the prompt) and the lines below it."""

    command: str
    output: str

    @property
    def words(self) -> list[str]:
        """Behind `redis-cli`, as a shell would split them."""
        program, *words = shlex.split(self.command)
        assert program == "redis-cli", self.command
        return words


def sections(text: str) -> dict[str, list[Shown]]:
    """Heading → its tested commands (those in ```console blocks); sections without any are left out."""
    found: dict[str, list[Shown]] = {}
    heading, indent, kind = "", "", None
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if fence is not None:
            kind, indent = (fence[2], fence[1]) if kind is None else (None, "")
        elif kind is None and (title := _HEADING.fullmatch(line)):
            heading = title[1]
        elif kind == "console":
            _add(found.setdefault(heading, []), line.removeprefix(indent))
    return found


def _add(shown: list[Shown], line: str) -> None:
    if line.startswith("$ "):
        shown.append(Shown(line[2:], ""))
        return
    last = shown.pop()
    shown.append(Shown(last.command, f"{last.output}\n{line}".lstrip("\n")))


def key_table(text: str) -> list[tuple[str, ...]]:
    """The rows of the key table, without its head."""
    table = text.partition("<!-- keys")[2].partition("<!-- /keys -->")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in row.strip("|").split(" | ")) for row in rows[2:]]

"""The user with the least rights, as the operators' page gives it: the tests run the service as nothing more."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
HEADING = "## Least rights"
USER = "inboxd"
SINCE_7_2 = ("+client|setinfo", "+waitaof")
"""What the page says an older Redis does not know: naming it would keep the server from starting."""


def section(page: str) -> str:
    """The page's section about rights. Raises ValueError."""
    return page[page.index(HEADING) :].partition("\n## ")[0]


def line(page: str) -> str:
    """The `user …` line of the page, with the words for a Cluster and for the audit at its end."""
    text = section(page)
    user = re.search(rf"^user {USER} (?:.*\\\n)*.*$", text, re.MULTILINE)
    more = re.findall(r"^\+.*$", text, re.MULTILINE)
    assert user is not None, f"no user line below {HEADING}"
    return " ".join(f"{user[0]} {' '.join(more)}".replace("\\\n", " ").split())


@dataclass(frozen=True)
class Rights:
    """A user of the server. `words`: the line of its configuration file, with `>password` in it."""

    words: str = field(default_factory=lambda: line(PAGE.read_text(encoding="utf-8")))

    @property
    def password(self) -> str:
        found = re.search(r" >(\S+)", self.words)
        assert found is not None
        return found[1]

    @property
    def login(self) -> str:
        """As it stands in a URL."""
        return f"{USER}:{self.password}@"

    def without(self, *words: str) -> "Rights":
        """The same user with less."""
        return Rights(" ".join(word for word in self.words.split() if word not in words))

    def known_to(self, binary: str) -> "Rights":
        """Without what this server program is too old for."""
        return self if version(binary) >= (7, 2) else self.without(*SINCE_7_2)


def version(binary: str) -> tuple[int, int]:
    """Major and minor version of a server program."""
    told = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"v=(\d+)\.(\d+)", told)
    assert found is not None, told
    return int(found[1]), int(found[2])

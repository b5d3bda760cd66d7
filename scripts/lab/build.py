"""Which build of the service tests and benchmarks start: the tree itself, or what `make compiled` has made of it."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = "COMPILED"
"""The variable that names the folder `make compiled` has filled; without it the tree's own modules are started."""


def chosen() -> dict[str, str]:
    """What a process needs in its environment to run that build; {} for the tree. Raises FileNotFoundError."""
    if not (named := os.environ.get(FOLDER)):
        return {}
    folder = Path(named).resolve()
    if not list(folder.glob("service/core/cursor.*.so")):
        raise FileNotFoundError(f"{FOLDER}={named}: there is no compiled service; `make compiled` makes one")
    # Without the safe path the folder it is started in would come first.
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}

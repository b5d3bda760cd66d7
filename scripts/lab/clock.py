"""A wall clock of its own for one server: a library between it and the system, built when it is needed."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shim.c")


def obstacle() -> str:
    """Why clocks cannot be shifted here; empty where they can."""
    if sys.platform != "linux":
        return "clocks are shifted on Linux only"
    return "" if shutil.which("cc") else "no C compiler (cc) to build the clock shim with"


class Clock:
    """The clock of whoever runs in `environment`. `set` moves it while they run."""

    def __init__(self, folder: Path) -> None:
        self._library = folder / "clock_shim.so"
        self._file = folder / "clock_offset"
        command = ("cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE))
        subprocess.run(command, check=True, capture_output=True, text=True)
        self._file.write_bytes(struct.pack("q", 0))

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "LAB_CLOCK": str(self._file)}

    def set(self, offset_ms: int) -> None:
        """From now on this much before (negative) or after this machine's clock."""
        with self._file.open("r+b") as file:  # the same file, which they have mapped
            file.write(struct.pack("q", offset_ms))

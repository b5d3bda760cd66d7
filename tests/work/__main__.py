"""`python -m tests.work` counts anew and writes `recorded.txt`; with `--show` it only prints, and what was called."""

import asyncio
import sys
import tempfile
from pathlib import Path

from scripts.lab.redis_server import RedisServer
from tests.work.record import PLACE, written
from tests.work.runs import RUNS, counted


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="inboxd-work-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            both = {name: asyncio.run(counted(server, name)) for name in RUNS}
        finally:
            server.stop()
    found = {name: work for name, (work, _) in both.items()}
    sys.stdout.write(written(found))
    if "--show" in sys.argv[1:]:
        for name, (_, calls) in both.items():
            sys.stdout.write(f"\n{name}\n")
            for what, count in calls:
                sys.stdout.write(f"  {count:8.2f}  {what}\n")
    else:
        PLACE.write_text(written(found))


if __name__ == "__main__":
    main()

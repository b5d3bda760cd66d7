"""`python -m scripts.chaos [names…]`: plays scenarios; exit code 1 where a promise was broken, 2 for wrong use."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from scripts.chaos.report import page, table
from scripts.chaos.runner import Result, run
from scripts.chaos.scenarios import SCENARIOS


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.chaos", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="scenarios; all of them by default")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of everything random")
    parser.add_argument("--seconds", type=float, default=25.0, help="of traffic for each scenario, about")
    parser.add_argument("--report", type=Path, help="write a page of Markdown there")
    parser.add_argument("--keep", type=Path, help="make the folder for histories and logs of what failed there")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; see --list")
    return asked


def play(names: list[str], seed: int, seconds: float, folder: Path) -> list[Result]:
    """Plays scenarios one after the other, telling each at once; what passed leaves no files."""
    results = []
    for name in names:
        result = run(SCENARIOS[name], seed, seconds, folder / name)
        print(table(result), flush=True)
        results.append(result)
        if result.passed:
            shutil.rmtree(folder / name, ignore_errors=True)  # it is not there where the scenario was skipped
    return results


def main(arguments: list[str] | None = None) -> int:
    asked = options(arguments)
    if asked.list:
        for name, one in SCENARIOS.items():
            print(f"{name:<22} {one.about}")
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: everything is ended in order
    folder = Path(tempfile.mkdtemp(prefix="inboxd-chaos-", dir=asked.keep))
    print(f"seed {asked.seed}", flush=True)
    try:
        results = play(asked.names or list(SCENARIOS), asked.seed, asked.seconds, folder)
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        print("interrupted; nothing was left running")
        return 130
    if asked.report is not None:
        asked.report.write_text(page(results, asked.seed, asked.seconds) + "\n")
    failed = [result.scenario.name for result in results if not result.passed]
    if not failed:
        folder.rmdir()
    print(
        f"{len(results) - len(failed)} of {len(results)} passed" + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

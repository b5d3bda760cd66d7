"""`python -m scripts.bench.peers`: inboxd beside other systems, in one run. Never fails for being slow."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from scripts.bench import machine
from scripts.bench.crew import raise_file_limit
from scripts.bench.peers import page
from scripts.bench.peers.roster import ROSTER
from scripts.bench.peers.rounds import Makers, Plan, one_round
from scripts.bench.peers.sizes import FULL, QUICK


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m scripts.bench.peers", description=__doc__)
    made.add_argument("--quick", action="store_true", help="some minutes; rougher figures")
    made.add_argument("--runs", type=int, default=1, metavar="N", help="rounds: every system once in each")
    made.add_argument("--seed", type=int, default=1, help="of what is random in the load")
    made.add_argument("--loads", type=int, default=2, metavar="N", help="load processes (default: 2)")
    made.add_argument("--only", action="append", metavar="NAME", help="systems whose name begins so; repeatable")
    made.add_argument("--report", type=Path, metavar="FILE", help="write the tables into this page, between its marks")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    made.add_argument("--data-root", type=Path, metavar="DIR", help="the data lies here while it runs")
    return made


def chosen(only: Sequence[str] | None, makers: Makers = ROSTER) -> Makers:
    """The systems whose names begin with one of these words; all of them without any."""
    if only is None:
        return makers
    return [make for make in makers if make().name.lower().startswith(tuple(word.lower() for word in only))]


def main(arguments: Sequence[str] | None = None, makers: Makers = ROSTER) -> int:
    options = parser().parse_args(arguments)
    raise_file_limit()
    plan = Plan(QUICK if options.quick else FULL, options.loads, options.seed, options.data_root)
    where = machine.look(options.data_root)
    systems = chosen(options.only, makers)
    if not systems:
        print(f"there is none of these; there are: {', '.join(make().name for make in makers)}", file=sys.stderr)
        return 2
    rounds = [one_round(systems, plan, number, partial(say, number, options.runs)) for number in range(options.runs)]
    conditions = page.Conditions(where, plan.sizes, options.loads, quick=options.quick)
    order = [make().name for make in systems]
    text = page.text(conditions, rounds, order)
    print(text)
    if options.report is not None:
        page.write(options.report, text)
    if options.json is not None:
        page.write_json(options.json, conditions, rounds)
    return 0


def say(number: int, runs: int, words: str) -> None:
    print(f"[round {number + 1} of {runs}] {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m scripts.bench`: measures the service and prints a report. Never fails for being slow."""

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import psutil

from scripts.bench import machine, own_page, report
from scripts.bench.crew import LoadError, raise_file_limit
from scripts.bench.measure import FULL, QUICK, Result, Stage, reference
from scripts.bench.peers import page
from scripts.bench.redis_info import RedisView, ServerFacts
from scripts.bench.report import Conditions, Run
from scripts.bench.server import Service, StartError, running, started
from scripts.bench.setups import Setup
from scripts.bench.subjects import SUBJECTS
from scripts.bench.subjects.subject import Subject
from scripts.bench.ws_client import Manners


def parser() -> argparse.ArgumentParser:
    names = [subject.name for subject in SUBJECTS]
    made = argparse.ArgumentParser(prog="python -m scripts.bench", description=__doc__)
    made.add_argument("--quick", action="store_true", help="seconds instead of minutes; rougher figures")
    made.add_argument("--runs", type=int, default=1, metavar="N", help="repeat all of it N times")
    made.add_argument("--seed", type=int, default=1, help="of what is random in the load")
    made.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"of: {', '.join(names)}")
    made.add_argument("--loads", type=int, default=1, metavar="N", help="load processes (default: 1)")
    made.add_argument("--ack-every", type=int, default=16, metavar="N", help="entries a device acks at once")
    made.add_argument("--report", type=Path, metavar="FILE", help="write the tables into this page, between its marks")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    made.add_argument("--data-root", type=Path, metavar="DIR", help="the data lies here while it runs")
    made.add_argument("--url", help="measure this running service instead of starting any")
    made.add_argument("--redis-url", help="with --url: its Redis, for the yardstick and the server's cost")
    return made


class Bench:
    """The options, and one run after the other by them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.manners = Manners(ack_every=options.ack_every)
        self.sizes = QUICK if options.quick else FULL
        self.subjects = chosen(options.only, any_server=options.url is not None)
        self.machine = machine.look(options.data_root)
        if options.url is not None:
            self.machine = replace(self.machine, service=options.url, data_on="unknown")
        self.server = ServerFacts("unknown", "unknown")

    @property
    def conditions(self) -> Conditions:
        options = self.options
        return Conditions(
            *(self.machine, self.server, self.sizes, self.manners, options.seed, options.loads, options.quick)
        )

    def run(self, number: int) -> Run:
        """Starts each server that is needed once, and measures all that needs it."""
        done = Run({}, {}, {subject.name: self.label(subject.setup) for subject in self.subjects})
        done.besides |= {subject.name: subject.beside for subject in self.subjects}
        for label, group in groupby(self.subjects, key=lambda subject: self.label(subject.setup)):
            subjects = list(group)
            self.say(number, label)
            with self.stage(subjects[0].setup, number) as stage:
                self.server = stage.view.facts()
                self.say(number, "yardstick")
                yardstick = reference(stage)
                if yardstick is not None:
                    done.references[label] = yardstick
                for subject in subjects:
                    self.say(number, subject.name)
                    done.results[subject.name] = subject.measure(subject.name, stage)
                    self.say(number, brief(done.results[subject.name]))
        return done

    def label(self, setup: Setup) -> str:
        return "as it runs" if self.options.url is not None else str(setup)

    @contextmanager
    def stage(self, setup: Setup, number: int) -> Iterator[Stage]:
        with self.service(setup) as service, closing(RedisView(*service.redis_urls)) as view:
            # The time makes the users new where a running service has seen a benchmark before.
            tag = f"bench-{int(time.time()):x}-{number}"
            options = self.options
            yield Stage(*(service, view, self.sizes, self.manners, options.seed, options.loads, tag, options.data_root))

    @contextmanager
    def service(self, setup: Setup) -> Iterator[Service]:
        if self.options.url is not None:
            yield running(self.options.url, self.options.redis_url)
            return
        with started(setup, self.options.data_root) as service:
            yield service

    def say(self, number: int, what: str) -> None:
        print(f"[run {number} of {self.options.runs}] {what}", file=sys.stderr, flush=True)


def chosen(only: Sequence[str] | None, *, any_server: bool) -> list[Subject]:
    """The subjects asked for. A running service is measured as it is, by what needs no special one."""
    subjects = [subject for subject in SUBJECTS if only is None or subject.name in only]
    return [subject for subject in subjects if subject.anywhere] if any_server else subjects


def brief(result: Result) -> str:
    """One line of progress: the figures that are known."""
    known = [figure for figure in result.figures if not math.isnan(figure.value)]
    return "  " + ", ".join(f"{figure.name} {report.number(figure.value)} {figure.unit}" for figure in known)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    raise_file_limit()
    bench = Bench(options)
    try:
        runs = [bench.run(number) for number in range(1, options.runs + 1)]
    except (StartError, LoadError, psutil.NoSuchProcess) as error:
        print(error, file=sys.stderr)
        return 1
    print(report.text(bench.conditions, runs))
    if options.report is not None:
        page.write(options.report, own_page.text(bench.conditions, runs), own_page.BEGIN, own_page.END)
    if options.json is not None:
        report.write_json(options.json, bench.conditions, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())

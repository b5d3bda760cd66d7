"""`python -m scripts.sizing --users 1e6`: what that takes, and how near each limit is. Any assumption is a flag.

`--simulate zone` lets that befall it; `--page` writes the tables of docs/scaling.md; `python -m scripts.sizing.measure`
measures anew what each stage costs.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, fields, replace

from scripts.sizing import page
from scripts.sizing.assumptions import Assumptions, of
from scripts.sizing.costs import measured
from scripts.sizing.simulation import FAULTS


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m scripts.sizing", description=__doc__)
    made.add_argument("--users", type=float, default=1e4)
    for field in fields(Assumptions):
        if field.name != "users":
            kind = field.type if isinstance(field.type, type) else float
            read = (lambda text: text == "on") if kind is bool else kind
            made.add_argument(f"--{field.name.replace('_', '-')}", type=read, help=page.WORDS[field.name])
    made.add_argument("--simulate", action="append", choices=FAULTS, default=[], help="a part of it in motion")
    made.add_argument("--page", action="store_true", help="write the tables of docs/scaling.md (takes a minute)")
    return made


def asked(options: argparse.Namespace) -> Assumptions:
    """What was said stands; the rest is assumed for so many users."""
    found = of(options.users)
    return replace(found, **{name: said for name in asdict(found) if (said := getattr(options, name)) is not None})


def write_page() -> None:
    found = measured()
    text = page.PAGE.read_text()
    simulated = {"fit": page.fit_table(found), "faults": page.faults_table(found)}
    for name, content in (page.tables(found) | simulated).items():
        text = page.filled(text, name, content)
    page.PAGE.write_text(text)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    if options.page:
        write_page()
        return
    found, a = measured(), asked(options)
    print(page.assumptions_table([a]), page.sizes_table(found, [a]), page.limits_table(found, [a]), sep="\n\n")
    if options.simulate:
        rows = [page.fault_row(found, a, fault) for fault in options.simulate]
        print("", page.table(page.FAULT_HEAD, rows), sep="\n")


if __name__ == "__main__":
    main()

"""The command line: ``python -m reclib.shop simulate --out DIR | describe DIR | worlds``."""

from __future__ import annotations

import argparse
import math
import os
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pandas as pd

from reclib.shop import Shop, SimConfig, open_shop, simulate
from reclib.shop.realism import REAL_SHOPS, describe
from reclib.shop.satisfaction import CHECKS, planner_gain

__all__ = ["main"]

_WIDTH = 100
_STARTS = (0.0, -1.0)  # satisfaction at which policies are compared


class _Parser(argparse.ArgumentParser):
    """One line for an error, as everywhere else in this command."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 2 after an error, 130 when stopped by hand."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "simulate":
            _simulate(options)
        elif options.command == "describe":
            print(_heading(shop := open_shop(options.folder)))
            print(
                _table(describe(shop, popularity=options.popularity, histories=options.histories))
            )
        else:
            print(_worlds())
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, for example ``head``, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("error: stopped; the same command goes on at the last whole day", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m reclib.shop", description="A shop with known truth.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    make = commands.add_parser("simulate", help="simulate a shop into a folder")
    make.add_argument("--profile", default="small", help="tiny, small or full (default: small)")
    make.add_argument("--seed", type=int, default=0, help="integer >= 0 (default: 0)")
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty folder")
    make.add_argument("--domain", default="home", help="home or sport (default: home)")
    make.add_argument("--world", default="default", help="control, default or longterm")
    make.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    show = commands.add_parser("describe", help="its statistics beside those of real shops")
    show.add_argument("folder", type=Path, metavar="DIR", help="a folder that simulate has made")
    kinds = ("clicks", "carts", "purchases")
    show.add_argument("--popularity", choices=kinds, default="clicks", help="what tests 1-3 count")
    show.add_argument("--histories", choices=kinds, default="purchases", help="the same, 10-11")
    commands.add_parser("worlds", help="what planning is worth in each world of satisfaction")
    return parser


def _simulate(options: argparse.Namespace) -> None:
    config = SimConfig.of(options.profile, options.seed, domain=options.domain, world=options.world)
    if options.workers < 1:  # before anything is made on the disk
        raise ValueError(f"workers must be at least 1, got {options.workers}")
    began = time.perf_counter()
    shop = simulate(config, options.out, workers=options.workers, progress=_progress(began))
    n, seconds = len(shop.impressions), time.perf_counter() - began
    rate = f"{n / seconds:,.0f} a second" if seconds else "at once"
    print(_heading(shop))
    print(f"{n:,} impressions in {seconds:.1f} s, {rate}: {options.out}")


def _progress(began: float) -> Callable[[int, int], None]:
    """A line that is written over on a terminal; elsewhere one line for each tenth of the days."""
    terminal = sys.stderr.isatty()

    def show(day: int, n_days: int) -> None:
        if not terminal and (day * 10 // n_days) == ((day - 1) * 10 // n_days):
            return
        seconds = time.perf_counter() - began
        left = f", {seconds / day * (n_days - day):.0f} s left" if day else ""
        line = f"day {day} of {n_days}, {seconds:.0f} s{left}"
        end = "\n" if day == n_days or not terminal else ""
        print(f"\r{line:<50}" if terminal else line, end=end, file=sys.stderr, flush=True)

    return show


def _heading(shop: Shop) -> str:
    config = shop.config
    return (
        f"shop {config.hash}: {config.profile}, seed {config.seed}, {config.domain}, world "
        f"{config.world}; {config.n_items:,} products, {config.n_users:,} customers, "
        f"{config.n_days} days"
    )


def _table(rows: pd.DataFrame) -> str:
    """The realism table in 100 columns, then what does not fit into it."""
    names = {"test": 2, "statistic": 28, "shop": 7, "accepted": 11, "": 3}
    widths = [*names.values(), *(len(name) for name in REAL_SHOPS)]
    lines = [(*("#", *list(names)[1:]), *REAL_SHOPS)]
    for row in rows.to_dict("records"):
        verdict = "" if pd.isna(row["ok"]) else "ok" if row["ok"] else "OUT"
        value = "-" if math.isnan(row["value"]) else _number(row["value"])
        accepted = _range(row["low"], row["high"])
        real = [_number(row[name]) for name in REAL_SHOPS]
        lines.append((str(row["test"]), row["statistic"], value, accepted, verdict, *real))
    text = [
        " ".join(
            cell.ljust(width) if column in (1, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    judged = rows[rows["ok"].notna()]
    told = rows[rows["others"] != ""]
    others = "; ".join(told["statistic"] + ": " + told["others"])
    missing = "; ".join(rows.loc[rows["value"].isna(), "statistic"])
    notes = [
        f"{int(judged['ok'].sum())} of {len(judged)} statistics lie in the range accepted.",
        f"Other shops: {others}.",
        *([f"Not there (-): {missing}."] if missing else []),
    ]
    return "\n".join([*text, *(textwrap.fill(note, _WIDTH) for note in notes)])


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    value = 0.0 if abs(value) < 1e-6 else value
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(low):
        return f"<= {_number(high)}"
    if math.isinf(high):
        return f">= {_number(low)}"
    return f"+-{_number(high)}" if low == -high else f"{_number(low)}-{_number(high)}"


def _worlds() -> str:
    lines = ["gain over the policy that is best for the next click, by satisfaction S at the start"]
    lines.append(f"{'world':<10}{'S':>6}{'planner':>10}{'best constant':>16}{'its bait':>10}")
    for name, dynamics in CHECKS.items():
        for start in _STARTS:
            gains = planner_gain(dynamics, start=start)
            lines.append(
                f"{name:<10}{start:>6.1f}{abs(gains.planner):>10.1%}{gains.constant:>16.1%}"
                f"{gains.level:>10.1f}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

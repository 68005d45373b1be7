"""The command line: ``python -m reclib.datasets list | fetch NAME ... | verify [NAME ...]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence

from reclib.datasets.fetching import fetch, locate, state
from reclib.datasets.readme import README, write
from reclib.datasets.registry import Source, find, names

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status, 1 after an error or a wrong file."""
    parser = argparse.ArgumentParser(prog="python -m reclib.datasets", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every data set: alias, size, licence class, where it lies")
    some = commands.add_parser("fetch", help="download what is missing, replace what is wrong")
    some.add_argument("names", nargs="+", metavar="NAME")
    check = commands.add_parser("verify", help="each file: ok, missing or wrong (exit status 1)")
    check.add_argument("names", nargs="*", metavar="NAME", help="all if none is given")
    commands.add_parser("readme", help="write data/README.md from the registry")
    options = parser.parse_args(arguments)
    try:
        if options.command == "list":
            _list()
        elif options.command == "fetch":
            _fetch(options.names)
        elif options.command == "verify":
            return _verify(options.names or names())
        else:
            write(README)
            print(f"wrote {README}")
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, for example ``head``, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (KeyError, OSError, ValueError) as error:
        print(f"error: {error.args[0] if type(error) is KeyError else error}", file=sys.stderr)
        return 1
    return 0


def _list() -> None:
    rows = [("name", "alias", "MiB", "class", "from")]
    for name in names():
        source = find(name)
        size = f"{source.n_bytes / 2**20:.1f}"
        rows.append((name, ", ".join(source.aliases), size, source.use_class, _places(source)))
    rows.append(("shop", "", "", "", "simulated here, nothing to download"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def _places(source: Source) -> str:
    """Where the files come from; with their numbers where they differ."""
    places = Counter(locate(file)[0] for file in source.files)
    if len(places) == 1:
        return next(iter(places))
    return ", ".join(f"{place} ({n} files)" for place, n in places.items())


def _fetch(wanted: Sequence[str]) -> None:
    for source in [find(name) for name in wanted]:
        if source.use_class != "A":
            print(f"{source.name}: terms, class {source.use_class}: {source.licence}")
        fetch(source.name)
        print(f"{source.name}: {len(source.files)} files from {_places(source)}, verified")


def _verify(wanted: Sequence[str]) -> int:
    counts: Counter[str] = Counter()
    for source in [find(name) for name in wanted]:
        for file in source.files:
            verdict = state(file)
            counts[verdict] += 1
            print(f"{verdict:7}  {file.path}")
    print(", ".join(f"{counts[verdict]} {verdict}" for verdict in ("ok", "missing", "wrong")))
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

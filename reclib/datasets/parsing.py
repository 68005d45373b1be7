"""Text files to arrays, a whole file at once; the slow way only to say which line is wrong.

    token t begins where a blank ends;   line(t) = line ends before t;   lengths = counts of line(t)

Source: the book's own.
Differences from the paper: none.
Chapter: foundations/interactions
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["bad_line", "read_lists", "read_numbers", "read_table"]

Ids = NDArray[np.int64]


def bad_line(path: Path, line: int, name: str, rule: str, got: object) -> ValueError:
    """The error of all loaders: *folder/file line n: name must rule, got value*."""
    return ValueError(f"{_label(path)} line {line}: {name} must {rule}, got {str(got)!r}")


def read_numbers(
    path: Path,
    names: Sequence[str],
    *,
    header: str | None = None,
    ragged: bool = False,
    real: Sequence[str] = (),
) -> tuple[NDArray[np.float64], Ids]:
    """All numbers of a file of blank-separated columns, one record a line.

    Args:
        path: the file.
        names: what each column holds, for errors; all are positive integers but the ``real`` ones.
        header: the first line, if the file has one.
        ragged: the last column may be repeated.
        real: names of columns that may hold any positive number.

    Returns:
        values: (n,) float64, line after line.
        lengths: (lines,) int64, how many numbers stand on each line.

    Raises:
        ValueError: if a line is not as described, or there is none; names file and line.
    """
    content, first = _after_header(path, header)
    if not content:
        raise ValueError(f"{_label(path)} must hold at least one line, got none")
    codes = np.frombuffer(content, dtype=np.uint8)
    blank = codes <= ord(" ")
    starts = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]]))
    ends = np.flatnonzero(codes == ord("\n"))
    n_lines = ends.size + (codes[-1] != ord("\n"))
    lengths = np.bincount(np.searchsorted(ends, starts), minlength=n_lines)
    try:
        values = np.fromstring(content.decode("latin1"), dtype=np.float64, sep=" ")
    except ValueError:
        values = np.zeros(0)
    if not _regular(values, lengths, names, ragged, real):
        _raise_first(path, content, first, names, ragged, real)
    return values, lengths


def _regular(
    values: NDArray[np.float64],
    lengths: Ids,
    names: Sequence[str],
    ragged: bool,
    real: Sequence[str],
) -> bool:
    n = len(names)
    if values.size != lengths.sum() or not (np.isfinite(values) & (values > 0)).all():
        return False
    if ragged:
        return bool((lengths >= n).all() and (values % 1 == 0).all())
    whole = [name not in real for name in names]
    return bool((lengths == n).all() and (values.reshape(-1, n)[:, whole] % 1 == 0).all())


def _raise_first(
    path: Path,
    content: bytes,
    first: int,
    names: Sequence[str],
    ragged: bool,
    real: Sequence[str],
) -> NoReturn:
    n = len(names)
    for number, line in enumerate(_lines(content.decode("utf-8", errors="replace")), first):
        words = line.split()
        if len(words) < n or (len(words) > n and not ragged):
            least = "at least " if ragged else ""
            rule = f"hold {least}{n} numbers ({', '.join(names)})"
            raise bad_line(path, number, "it", rule, line.rstrip("\r"))
        for column, word in enumerate(words):
            name = names[min(column, n - 1)]
            if not _positive(word, whole=name not in real):
                rule = f"be positive {'numbers' if name in real else 'integers'}"
                raise bad_line(path, number, name, rule, word)
    raise ValueError(f"{_label(path)} must hold positive numbers only, got something else")


def _positive(word: str, *, whole: bool) -> bool:
    try:
        value = float(word)
    except ValueError:
        return False
    return 0 < value < np.inf and not (whole and value % 1)


def read_table(path: Path, header: str, *, integers: Sequence[str] = ()) -> pd.DataFrame:
    """A tab-separated text table; all columns are texts, named as in the header up to a colon.

    Args:
        path: the file, UTF-8.
        header: the first line.
        integers: columns, where the table has them, that must hold positive integers.

    Raises:
        ValueError: if a line is not as described; names file and line.
    """
    content, first = _after_header(path, header)
    try:
        lines = pd.Series(_lines(content.decode("utf-8")), dtype="str").str.rstrip("\r")
    except UnicodeDecodeError as error:
        line = first + content[: error.start].count(b"\n")
        byte = content[error.start : error.start + 1].hex()
        raise bad_line(path, line, "it", "be UTF-8", f"byte {byte}") from None
    columns = [name.partition(":")[0] for name in header.split("\t")]
    right = (lines.str.count("\t") == len(columns) - 1).to_numpy(dtype=bool)
    if not right.all():
        row = int(np.argmin(right))
        rule = f"hold {len(columns)} fields ({', '.join(columns)})"
        raise bad_line(path, first + row, "it", rule, lines[row])
    table = lines.str.split("\t", expand=True).set_axis(columns, axis=1)
    for name in table.columns.intersection(list(integers)):
        right = table[name].str.fullmatch("[1-9][0-9]*").to_numpy(dtype=bool)
        if not right.all():
            row = int(np.argmin(right))
            raise bad_line(path, first + row, name, "be positive integers", table[name][row])
    return table


def read_lists(path: Path) -> tuple[Ids, Ids, Ids]:
    """A JSON object of lists, ``{"12": [3, 4], ...}``, with positive integers everywhere.

    Returns:
        keys: (n,) int64.
        lengths: (n,) int64.
        values: (lengths.sum(),) int64, list after list.

    Raises:
        ValueError: if the file is anything else; names the file, and line or key.
    """
    try:
        lists = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        got = f"{error.msg} at column {error.colno}"
        raise bad_line(path, error.lineno, "it", "be JSON", got) from None
    if not isinstance(lists, dict):
        raise bad_line(path, 1, "it", "be a JSON object", type(lists).__name__)
    try:
        keys = np.fromiter(map(int, lists), dtype=np.int64, count=len(lists))
        lengths = np.fromiter(map(len, lists.values()), dtype=np.int64, count=len(lists))
        flat = list(chain.from_iterable(lists.values()))
        values = np.array(flat, dtype=np.int64)
        right = set(map(type, flat)) <= {int} and (values > 0).all() and (keys > 0).all()
    except (TypeError, ValueError, OverflowError):
        right = False
    if not right:
        _raise_first_list(path, lists)
    return keys, lengths, values


def _raise_first_list(path: Path, lists: dict[str, object]) -> NoReturn:
    rule = "must map positive integers to lists of positive integers"
    for key, values in lists.items():
        good = isinstance(values, list) and all(type(v) is int and v > 0 for v in values)
        if not (good and key.isascii() and key.isdigit() and int(key) > 0):
            raise ValueError(f"{_label(path)} {rule}, got {key!r}: {values!r}")
    raise ValueError(f"{_label(path)} {rule}, got a number beyond 64 bits")


def _label(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n")


def _after_header(path: Path, header: str | None) -> tuple[bytes, int]:
    """The content behind the header, and the number of its first line."""
    content = path.read_bytes()
    if header is None:
        return content, 1
    line, _, rest = content.partition(b"\n")
    got = line.rstrip(b"\r").decode("utf-8", errors="replace")
    if got != header:
        raise bad_line(path, 1, "it", f"be {header!r}", got)
    return rest, 2

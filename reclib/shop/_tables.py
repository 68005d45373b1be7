"""The tables of a shop: columns to Arrow, parquet files of equal bytes, and a view that reads late.

file = parquet(rows in the order of day, block and row): the same rows give the same bytes, whoever
wrote them and when.

Source: Apache Parquet and Arrow, through pyarrow; the layout is our own.

Differences from the specification:

1. The log is one file a table with row groups of whole days, at least 2^20 rows each but the last
   (specification: sharded by block of users).

Chapter: shop/simulation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["Categories", "Columns", "Tables", "checksum", "coded", "from_frame", "joined"]

Columns = Mapping[str, Any]
"""Of each column its N numbers or its N strings (None where missing)."""
Categories = Mapping[str, Sequence[str]]
"""Of each coded column the names of its codes 0, 1, ...; code -1 is missing."""

_ROWS = 1 << 20  # fewest rows of a row group but the last
_NAMES = b"categories"  # key of a file's metadata: an empty file forgets its dictionaries


class Tables(Mapping[str, pd.DataFrame]):
    """Read-only mapping from a table's name to its frame; a file is read at its first use.

    An open file stays readable when another process replaces it, so that what was verified is what
    is read. A pickle holds the frames themselves.
    """

    def __init__(self, sources: Mapping[str, pd.DataFrame | pa.Table | pa.NativeFile]) -> None:
        """Take frames, Arrow tables and open parquet files by their names."""
        self._sources = dict(sources)

    def __getitem__(self, name: str) -> pd.DataFrame:
        source = self._source(name)
        if not isinstance(source, pd.DataFrame):
            source = self._sources[name] = _frame(source)
        return source

    def read(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns of a table, in the order asked for; the others stay unread."""
        source = self._source(name)
        if isinstance(source, pd.DataFrame):
            return source[list(columns)]
        return _frame(source, list(columns))

    def _source(self, name: str) -> Any:
        if name not in self._sources:
            raise KeyError(f"table must be one of {sorted(self._sources)}, got {name!r}")
        return self._sources[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __repr__(self) -> str:
        return f"Tables({', '.join(self._sources)})"

    def __reduce__(self) -> tuple[type[Tables], tuple[dict[str, pd.DataFrame]]]:
        return Tables, (dict(self),)


def _frame(source: pa.Table | pa.NativeFile, columns: list[str] | None = None) -> pd.DataFrame:
    if isinstance(source, pa.Table):
        table = source if columns is None else source.select(columns)
    else:
        table = pq.ParquetFile(source).read(columns)
        if columns is not None:
            table = table.select(columns)  # a file gives them in its own order
    frame = table.to_pandas()
    for column, names in json.loads(table.schema.metadata[_NAMES]).items():
        if column in frame and list(frame[column].cat.categories) != names:
            frame[column] = frame[column].cat.set_categories(names)
    return frame


def joined(blocks: Iterable[Columns]) -> pa.Table:
    """The rows of several blocks as one table; codes stay numbers.

    Raises:
        ValueError: if columns differ in length, or blocks in columns or types.
    """
    batches = [
        pa.RecordBatch.from_pydict({name: _array(values) for name, values in block.items()})
        for block in blocks
    ]
    return pa.Table.from_batches(batches).combine_chunks()


def _array(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OU":
        return pa.array(values)
    return pa.array(list(values), pa.string())


def coded(table: pa.Table, categories: Categories) -> pa.Table:
    """The table with the names of its codes.

    Raises:
        IndexError: if a code has no name.
    """
    for position, name in enumerate(table.column_names):
        if name in categories:
            names = list(categories[name])
            codes = table[name].to_numpy().astype(np.int16 if len(names) > 127 else np.int8)
            array = pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(names))
            table = table.set_column(position, name, array)
    return _with_names(table)


def from_frame(frame: pd.DataFrame) -> pa.Table:
    """A frame as a table, without its index."""
    return _with_names(pa.Table.from_pandas(frame, preserve_index=False))


def _with_names(table: pa.Table) -> pa.Table:
    names = {
        column: table[column].chunk(0).dictionary.to_pylist()
        for column in table.column_names
        if pa.types.is_dictionary(table.schema.field(column).type)
    }
    return table.replace_schema_metadata({_NAMES: json.dumps(names, sort_keys=True)})


def write_parquet(days: Iterable[pa.Table], path: Path) -> None:
    """Write the days of one table beside ``path`` and rename; memory is that of a row group."""
    beside = path.with_suffix(".new")
    writer: pq.ParquetWriter | None = None
    try:
        for group in _row_groups(days):
            writer = writer or pq.ParquetWriter(beside, group.schema, compression="zstd")
            writer.write_table(group, row_group_size=max(group.num_rows, 1))
    finally:
        if writer is not None:
            writer.close()
    beside.replace(path)


def _row_groups(days: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Whole days together until they have `_ROWS` rows."""
    group: list[pa.Table] = []
    for day in days:
        group.append(day)
        if sum(one.num_rows for one in group) >= _ROWS:
            yield pa.concat_tables(group)
            group = []
    if group:
        yield pa.concat_tables(group)


def checksum(file: pa.NativeFile) -> str:
    """SHA-256 of an open file, which is then back at its beginning."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()

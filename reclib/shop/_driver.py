"""Driving a simulation: days in order, blocks of customers side by side, resumed where it was cut.

memory(day + 1) = close_day(memory(day), sum over blocks of run_block(open_day(memory(day)), block))

Everything a block may see of the others is in ``open_day``, so that blocks of one day can run in
any order and in any process. Their results are joined in the order of the blocks: the bytes of the
tables depend on the settings only.

Source: the shop's own specification.

Differences from the specification:

1. Users advance in blocks of fixed size, a day at a time, whatever the profile (specification:
   sharded by block of users at ``full`` only).
2. BLAS runs on one thread, in one process as in several (not specified): two processes of two
   threads each are far slower on two cores, and the last bit may hang on the number of threads.

Chapter: shop/simulation.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from reclib.shop._checkpoint import InFolder, InMemory, Memory, State, checksum_of_code
from reclib.shop._config import BLOCK, SimConfig
from reclib.shop._tables import Categories, Columns, Tables, joined

__all__ = ["Progress", "Steps", "run"]

Block = tuple[Mapping[str, Columns], Memory, Mapping[str, NDArray]]
Progress = bool | Callable[[int, int], None]

_CUSTOMER = "customer/"
_NUMBERED = ("session", "request")


@dataclass(frozen=True)
class Steps:
    """The pure functions of a simulation; all are module-level, so that a process can be sent them.

    Attributes:
        build_world: the world of the settings; every process builds its own.
        first_memory: of the world, all state between days. Arrays under ``customer/NAME`` have a
            row for each user; the others are global.
        open_day: of world, memory and day, what all blocks of the day may know; picklable, small.
        run_block: of world, opened day, the block's rows of the customers' arrays (under ``NAME``)
            and the number of the block: tables, the same arrays after the day, and counts. Columns
            ``session`` and ``request`` are numbered from 0 in each block and day; -1 is none.
        close_day: of world, memory, day and the sum of the counts: changes the global memory.
        final_tables: of world and memory, the tables that are written once, after the last day.
        categories: of each coded column in the blocks' tables, the names of its codes.
        block_size: users simulated together.
    """

    build_world: Callable[[SimConfig], Any]
    first_memory: Callable[[Any], Memory]
    open_day: Callable[[Any, Memory, int], Any]
    run_block: Callable[[Any, Any, Memory, int], Block]
    close_day: Callable[[Any, Memory, int, dict[str, NDArray]], None]
    final_tables: Callable[[Any, Memory], dict[str, pd.DataFrame]]
    categories: Categories = field(default_factory=dict)
    block_size: int = BLOCK

    @property
    def generator(self) -> str:
        """Checksum of all that makes the tables: code, names of codes, size of blocks."""
        steps = (self.build_world, self.first_memory, self.open_day, self.run_block)
        code = checksum_of_code((*steps, self.close_day, self.final_tables, run))
        names = {column: list(names) for column, names in self.categories.items()}
        text = json.dumps([code, names, self.block_size], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def run(
    config: SimConfig,
    steps: Steps,
    folder: Path | None = None,
    *,
    workers: int = 1,
    progress: Progress = False,
) -> Tables:
    """Simulate all days, or those that are left, or none where the folder has the whole shop.

    Args:
        config: the settings.
        steps: what a day is.
        folder: where parts, checkpoints and at last the tables go; whatever another simulation
            left there is removed. Nobody else may write there meanwhile. None: kept in memory.
        workers: processes, >= 1; the tables do not depend on it. With more than one, a script
            needs the guard ``if __name__ == "__main__"``, as the processes are spawned.
        progress: a bar on stderr, or a function of the days done and of all days.

    Returns:
        The tables.

    Raises:
        OSError: if the folder cannot be written; run again, it goes on at the last whole day.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers must be an integer of at least 1, got {workers!r}")
    if folder is None:
        return _simulate(config, steps, InMemory(steps.categories), workers, progress)
    keeper = InFolder(folder, config, steps.generator, steps.categories)
    with suppress(FileNotFoundError, ValueError):
        whole = keeper.whole()
        keeper.clean()
        return whole
    return _simulate(config, steps, keeper, workers, progress)


def _simulate(
    config: SimConfig,
    steps: Steps,
    keeper: InMemory | InFolder,
    workers: int,
    progress: Progress,
) -> Tables:
    with threadpool_limits(1):
        world = steps.build_world(config)
        state = keeper.resume() or State(0, steps.first_memory(world), {}, {})
        with _mapper(config, steps, world, workers) as mapper, _shown(progress, config) as show:
            for day in range(state.day, config.n_days):
                show(day)
                tables = _one_day(config, steps, world, state, mapper)
                state.day = day + 1
                keeper.add(state, tables)
            show(config.n_days)
        return keeper.finish(state, steps.final_tables(world, state.memory))


def _one_day(
    config: SimConfig, steps: Steps, world: Any, state: State, mapper: Callable[..., Any]
) -> dict[str, pa.Table]:
    """Run all blocks of the day; the memory is then that of the next morning."""
    memory, size = state.memory, steps.block_size
    own = {name: array for name, array in memory.items() if name.startswith(_CUSTOMER)}
    lows = range(0, config.n_users, size)
    customers = [
        {name.removeprefix(_CUSTOMER): rows[low : low + size].copy() for name, rows in own.items()}
        for low in lows
    ]
    opened = steps.open_day(world, memory, state.day)
    blocks: dict[str, list[Columns]] = {}
    totals: dict[str, NDArray] = {}
    results = mapper(repeat(opened), customers, range(len(lows)))
    for low, (tables, after, counts) in zip(lows, results, strict=True):
        for name, columns in _numbered(tables, state.numbers).items():
            blocks.setdefault(name, []).append(columns)
        for name, rows in own.items():
            rows[low : low + size] = after[name.removeprefix(_CUSTOMER)]
        for name, count in counts.items():
            totals[name] = totals[name] + count if name in totals else np.array(count)
    steps.close_day(world, memory, state.day, totals)
    return {name: joined(parts) for name, parts in blocks.items()}


def _numbered(tables: Mapping[str, Columns], numbers: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Make the numbers of sessions and requests global; ``numbers`` then counts the block's too."""
    shifted = {name: dict(columns) for name, columns in tables.items()}
    for column in _NUMBERED:
        first, most = numbers.get(column, 0), -1
        for table in shifted.values():
            if column in table:
                local = np.asarray(table[column])
                most = max(most, int(local.max(initial=-1)))
                table[column] = np.where(local < 0, local, local + local.dtype.type(first))
        numbers[column] = first + most + 1
    return shifted


@contextmanager
def _mapper(
    config: SimConfig, steps: Steps, world: Any, workers: int
) -> Iterator[Callable[..., Any]]:
    """A ``map`` over blocks that keeps their order, in this process or in several."""
    n_blocks = -(-config.n_users // steps.block_size)
    workers = min(workers, n_blocks)
    if workers == 1:
        yield partial(map, partial(steps.run_block, world))
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(steps, config),
    )
    try:  # blocks sent together share one copy of the opened day
        yield partial(pool.map, _work, chunksize=max(1, n_blocks // (8 * workers)))
    finally:
        pool.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}  # filled in the processes of a pool only


def _start_worker(steps: Steps, config: SimConfig) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threadpool_limits(1)
    _worker["run_block"] = partial(steps.run_block, steps.build_world(config))


def _end_with_parent() -> None:
    """A killed parent cannot stop its processes, and they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _work(opened: Any, customers: Memory, block: int) -> Block:
    result: Block = _worker["run_block"](opened, customers, block)
    return result


@contextmanager
def _shown(progress: Progress, config: SimConfig) -> Iterator[Callable[[int], None]]:
    if callable(progress):
        yield lambda day: progress(day, config.n_days)
        return
    title = f"shop {config.hash}"
    with tqdm(
        total=config.n_days, desc=title, unit="day", leave=False, disable=not progress
    ) as bar:

        def show(day: int) -> None:
            bar.update(day - bar.n)

        yield show

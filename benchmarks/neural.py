"""Rows of neural collaborative filtering, with the care that the dot product got.

The dot product with the same loss, negatives and batches is the row ``binary`` of the factors.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from benchmarks._learned import learned_row, training_options
from reclib.collaborative import NCF

__all__ = ["ROWS"]


def _ncf(
    architecture: Literal["gmf", "mlp", "neumf"], *, epochs: int | None, seed: int, **options: Any
) -> NCF:
    training = training_options(epochs, batch_size=2048, learning_rate=options.pop("rate"))
    return NCF(
        architecture=architecture,
        factors=64,
        n_negatives=4,
        seed=seed,
        training=training,
        **options,
    )


_CHOICES: dict[str, list[Any]] = {"rate": [0.001, 0.01], "regularization": [0.01, 0.03, 0.1]}
ROWS: dict[str, Callable[[], dict[str, Any]]] = {}
for _set in ("s3rec-beauty", "ml-100k"):
    for _kind in ("gmf", "mlp", "neumf"):
        ROWS[f"{_set}-{_kind}"] = partial(learned_row, _set, partial(_ncf, _kind), _CHOICES)

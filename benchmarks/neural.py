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


_CHOICES: dict[str, dict[str, list[Any]]] = {
    "s3rec-beauty": {"rate": [0.003], "regularization": [0.003]},
    "ml-100k": {"rate": [0.001, 0.003], "regularization": [0.003, 0.03]},
}
ROWS: dict[str, Callable[[], dict[str, Any]]] = {
    f"{_set}-{_kind}": partial(learned_row, _set, partial(_ncf, _kind), _choices)
    for _set, _choices in _CHOICES.items()
    for _kind in ("gmf", "mlp", "neumf")
}

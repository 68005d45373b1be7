"""Rows of neural collaborative filtering, beside the dot product with the same loss and negatives.

That one is the row ``binary`` of the factors.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from benchmarks._learned import learned_row
from reclib.collaborative import NCF
from reclib.foundations.training import Options

__all__ = ["ROWS"]


def _ncf(
    architecture: Literal["gmf", "mlp", "neumf"],
    most: int,
    looks: int,
    *,
    epochs: int | None,
    seed: int,
    rate: float,
    **options: Any,
) -> NCF:
    """At most so many epochs, looked at so many times: scoring all pairs of Beauty takes long."""
    every = most // looks
    training = Options(
        epochs=epochs or most,
        batch_size=2048,
        learning_rate=rate,
        validate_every=every,
        patience=2 if epochs is None else None,
        progress=False,
    )
    return NCF(architecture=architecture, factors=64, seed=seed, training=training, **options)


_RATE: dict[str, list[Any]] = {"rate": [0.003]}
_VARIANTS: dict[Literal["gmf", "mlp", "neumf"], str] = {
    "gmf": "GMF",
    "mlp": "MLP",
    "neumf": "NeuMF",
}
_SMALL, _LARGE = (40, 8), (20, 4)
ROWS: dict[str, Callable[[], dict[str, Any]]] = {
    "s3rec-beauty-neumf": partial(
        learned_row,
        "s3rec-beauty",
        partial(_ncf, "neumf", *_LARGE),
        _RATE | {"regularization": [0.01, 0.03]},
        variant="NeuMF",
    )
}
for _kind in _VARIANTS:
    ROWS[f"ml-100k-{_kind}"] = partial(
        learned_row,
        "ml-100k",
        partial(_ncf, _kind, *_SMALL),
        _RATE | {"regularization": [0.01, 0.03, 0.1]},
        variant=_VARIANTS[_kind],
    )

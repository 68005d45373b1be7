"""Which attribute each modality of `reclib.shop.media` shows, and how well it can be read."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reclib.shop import _words as words
from reclib.shop._drawing import COLOR_RGB

MEDIA_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "picture": ("shape", "colour", "pattern", "brand"),
    "audio": ("material", "style", "leaf"),
    "video": ("shape", "colour", "pattern", "brand", "tier", "style"),
}

COLOR_NOISE = 8.0  # standard deviation of a product's colour, of 255
NAMES: dict[str, tuple[str, ...]] = {
    "shape": words.SHAPES,
    "colour": words.COLORS,
    "pattern": words.PATTERNS,
    "material": words.MATERIALS,
    "style": words.STYLES,
    "tier": words.TIERS,
}
CODES = (*NAMES, "brand", "leaf")


def bayes_ceiling(attribute: str, modality: str, shares: ArrayLike | None = None) -> float:
    """Accuracy of the best possible guess of an attribute from one modality alone.

    Shown attributes can be read without error, save three: colours overlap, as each product's
    colour has noise of 8 of 255 a channel (best guess given the exact colour, by 200,000 draws,
    standard error below .001); a jingle's pitch tells the leaf up to a multiple of 12; a clip tells
    a sporty style from all others. A hidden attribute is guessed as its most frequent value.

    Args:
        attribute: a code's name, such as ``colour``.
        modality: ``picture``, ``audio`` or ``video``.
        shares: frequency of each value, in the order of the codes; None: equal.

    Raises:
        ValueError: if a name is unknown, or shares are missing for ``brand`` or ``leaf``.
    """
    if modality not in MEDIA_ATTRIBUTES:
        raise ValueError(f"modality must be one of {tuple(MEDIA_ATTRIBUTES)}, got {modality!r}")
    share = _shares(attribute, shares)
    if attribute not in MEDIA_ATTRIBUTES[modality]:
        return float(share.max())
    if attribute == "colour":
        return _color_ceiling(tuple(share.tolist()), COLOR_NOISE)
    if (modality, attribute) == ("audio", "leaf"):
        return float(sum(share[pitch::12].max() for pitch in range(min(12, len(share)))))
    if (modality, attribute) == ("video", "style"):
        sporty = words.STYLES.index("sporty")
        return float(share[sporty] + np.delete(share, sporty).max())
    return 1.0


def _shares(attribute: str, shares: ArrayLike | None) -> NDArray[np.float64]:
    if attribute not in CODES:
        raise ValueError(f"attribute must be one of {CODES}, got {attribute!r}")
    size = len(NAMES[attribute]) if attribute in NAMES else None
    if shares is None:
        if size is None:
            raise ValueError(f"shares must be given for {attribute}, got None")
        return np.full(size, 1 / size)
    share = np.asarray(shares, dtype=np.float64)
    if share.ndim != 1 or not share.size or not (share >= 0).all() or not share.sum() > 0:
        raise ValueError(f"shares must be at least 0 and not all 0, got {shares}")
    if size is not None and len(share) != size:
        raise ValueError(f"shares must have length {size}, got {len(share)}")
    return share / share.sum()


@cache
def _color_ceiling(share: tuple[float, ...], noise: float) -> float:
    generator = np.random.Generator(np.random.PCG64(0))
    means = np.array([COLOR_RGB[name] for name in words.COLORS], dtype=np.float64)
    truth = generator.choice(len(share), 200_000, p=share)
    seen = means[truth] + noise * generator.standard_normal((len(truth), 3))
    # log share - |seen - mean|^2 / 2 sd^2, less what is the same for all colours
    logits = seen @ means.T - (means**2).sum(1) / 2
    with np.errstate(divide="ignore"):
        logits += noise**2 * np.log(share)
    return float((logits.argmax(1) == truth).mean())

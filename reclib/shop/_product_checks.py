"""Detectors of faults in the catalogue; `reclib.shop.data_quality` offers them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from reclib.shop._config import DAY, START

ATTRIBUTES = (
    "colour", "material", "pattern", "style", "audience", "season", "size", "feature", "origin",
)  # fmt: skip
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def find_duplicate_products(
    products: pd.DataFrame, *, similarity: float = 70.0, price_gap: float = 0.02
) -> pd.DataFrame:
    """Pairs with the same brand and attributes, nearly the same words and the same price.

    Only pairs that agree in brand and all attributes are compared (blocking), not all I^2 / 2.
    The leaf is no part of it, since it may be wrong, and a missing price is no objection. Words are
    sorted before they are compared, so their order does not matter.

    Args:
        products: item, title, price, brand, and those of `ATTRIBUTES` that there are.
        similarity: least normalised Indel similarity of the sorted words, 0 to 100.
        price_gap: greatest difference of log prices.

    Returns:
        item (the higher id), duplicate_of, similarity; one row for each pair.

    Raises:
        ImportError: without the extra ``quality``.
    """
    try:
        from rapidfuzz import fuzz, process, utils
    except ImportError as error:
        raise ImportError("duplicates need rapidfuzz: pip install -e '.[quality]'") from error
    pairs: list[tuple[int, int, float]] = []
    alike_in = [name for name in ("brand", *ATTRIBUTES) if name in products]
    for _, block in products.groupby(alike_in, dropna=False, observed=True):
        if len(block) < 2:
            continue
        titles, items = block["title"].tolist(), block["item"].to_numpy()
        alike = process.cdist(
            titles, titles, scorer=fuzz.token_sort_ratio, processor=utils.default_process
        )
        prices = np.log(block["price"].to_numpy(float))
        apart = np.abs(prices[:, None] - prices) > price_gap  # False where a price is missing
        first, second = np.nonzero(np.triu((alike >= similarity) & ~apart, 1))
        low = np.minimum(items[first], items[second]).tolist()
        high = np.maximum(items[first], items[second]).tolist()
        pairs += zip(high, low, alike[first, second].tolist(), strict=True)
    return pd.DataFrame(sorted(pairs), columns=["item", "duplicate_of", "similarity"])


def find_wrong_categories(products: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Products whose words belong to another leaf, by confident learning.

    The words of the title, and the feature as one more word, predict the leaf out of fold: TF-IDF
    and logistic regression. See `find_wrong_labels` for what counts as wrong.

    Args:
        products: item, title, leaf; feature if there is one.
        seed: of the folds.

    Returns:
        item, leaf, suggestion, probability of the suggestion; most probable first.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    titles = products["title"]
    if "feature" in products:
        titles = titles + " feature_" + products["feature"].str.replace(r"\W", "_", regex=True)
    words = TfidfVectorizer(sublinear_tf=True).fit_transform(titles)
    found = find_wrong_labels(words, products["leaf"], seed=seed)
    return _named(products, "leaf", found)


def find_wrong_pictures(
    products: pd.DataFrame, pictures: NDArray[np.uint8], *, seed: int = 0
) -> pd.DataFrame:
    """Products whose picture shows another colour than the table says, by confident learning.

    How often each of 8 x 8 x 8 colours stands in the middle predicts the colour out of fold. A
    wrong picture of the right colour stays unseen.

    Args:
        products: item, colour; I rows.
        pictures: (I, H, W, 3) as shown, the product in the middle.
        seed: of the folds.

    Returns:
        item, colour, suggestion, probability of the suggestion; most probable first.
    """
    if pictures.ndim != 4 or len(pictures) != len(products):
        raise ValueError(
            f"pictures must have shape ({len(products)}, H, W, 3), got {pictures.shape}"
        )
    n, height, width, _ = pictures.shape
    middle = pictures[:, height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] // 32
    bins = middle.reshape(n, -1, 3) @ np.array([64, 8, 1])  # (I, pixels)
    counts = np.bincount((bins + 512 * np.arange(n)[:, None]).ravel(), minlength=512 * n)
    shares = counts.reshape(n, 512) / bins.shape[1]
    found = find_wrong_labels(4 * shares**0.5, products["colour"], doubt=0.02, seed=seed)
    return _named(products, "colour", found)


def _named(products: pd.DataFrame, column: str, found: pd.DataFrame) -> pd.DataFrame:
    named = products.iloc[found["row"]][["item", column]].reset_index(drop=True)
    return named.assign(suggestion=found["suggestion"], probability=found["probability"])


def find_wrong_labels(
    features: Any, labels: pd.Series, *, n_folds: int = 3, doubt: float = 0.1, seed: int = 0
) -> pd.DataFrame:
    """Rows whose label is not the one that their features tell (confident learning).

    With p(row, c) the probability of label c by a logistic regression that has not seen the row,
    and t(c) the mean of p(row, c) over the rows labelled c, wrong is a row whose most probable
    label is another one c with p(row, c) >= t(c), and whose own label y has p(row, y) < doubt t(y).

    Args:
        features: (B, F) array or sparse matrix.
        labels: (B,).
        n_folds: at least 2.
        doubt: 1 leaves the second condition to the first; the paper has none.
        seed: of the folds.

    Returns:
        row, suggestion, probability of the suggestion; most probable first.
    """
    from sklearn.linear_model import LogisticRegression

    if n_folds < 2:
        raise ValueError(f"n_folds must be at least 2, got {n_folds}")
    names, codes = np.unique(labels.to_numpy(str), return_inverse=True)
    folds = np.random.default_rng(seed).permutation(len(codes)) % n_folds
    probs = np.zeros((len(codes), len(names)))  # (B, labels)
    for fold in range(n_folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        model = LogisticRegression(C=30.0, max_iter=1_000).fit(features[train], codes[train])
        probs[test[:, None], model.classes_] = model.predict_proba(features[test])
    rows = np.arange(len(codes))
    own, best = probs[rows, codes], probs.argmax(1)
    usual = np.bincount(codes, own) / np.bincount(codes)  # (labels,)
    confident = (best != codes) & (probs[rows, best] >= usual[best])
    wrong = np.flatnonzero(confident & (own < doubt * usual[codes]))
    found = pd.DataFrame({"row": wrong, "suggestion": names[best[wrong]]})
    found["probability"] = probs[wrong, best[wrong]]
    return found.sort_values("probability", ascending=False, ignore_index=True)


def find_unit_mistakes(products: pd.DataFrame, *, threshold: float = 5.0) -> Ints:
    """Items whose log price is far above the median x of their leaf, in robust units.

    gap / (1.4826 median |gap|) > threshold, with gap = x_i - x. A mean and a standard deviation
    would be moved by the very mistakes they should find. The scale is that of all leaves together:
    a leaf of five products has none of its own.

    Args:
        products: item, leaf, price.
        threshold: in robust standard deviations.
    """
    price = np.log(products["price"])
    gap = price - price.groupby(products["leaf"]).transform("median")
    far = gap > threshold * 1.4826 * gap.abs().median()  # a missing price is not above
    return products["item"].to_numpy(np.int64)[far.to_numpy()]


def repair_encoding(titles: pd.Series) -> pd.Series:
    """Titles with mojibake read again as what they were; the others as they are.

    Text that can be written as Windows-1252 and read back as UTF-8 and then differs is mojibake: a
    proper accent alone is no valid UTF-8 and stays. ``items[repaired != titles]`` are the damaged.
    """
    return titles.map(_read_again)


def _read_again(title: str) -> str:
    try:
        return title.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return title


def find_leaked_columns(
    products: pd.DataFrame, purchases: pd.DataFrame, at: int, *, threshold: float = 0.3
) -> pd.DataFrame:
    """Number columns that know more about sales after ``at`` than sales before it can tell.

    The partial rank correlation of a column with later sales, given earlier sales a day: an honest
    column has little left to say, a leaked one much. Where ``arrival_day`` is there, it says since
    when a product is sold, and products that arrive after ``at`` are left out; a missing value
    counts as the lowest.

    Args:
        products: item and number columns.
        purchases: item, timestamp.
        at: UTC seconds; the columns claim to be known then.
        threshold: least absolute partial correlation.

    Returns:
        column, correlation (partial); strongest first.
    """
    arrival = products.get("arrival_day", pd.Series(0, products.index)).to_numpy()
    days = (at - START) / DAY - arrival
    products, days = products[days > 0], days[days > 0]
    items, later = purchases["item"].to_numpy(), purchases["timestamp"].to_numpy() >= at
    sold = products["item"].to_numpy()
    size = 1 + max(int(sold.max(initial=0)), int(items.max(initial=0)))
    past = rankdata(np.bincount(items[~later], minlength=size)[sold] / days.clip(min=1))
    future = rankdata(np.bincount(items[later], minlength=size)[sold])
    rows = []
    for name in products.columns.drop("item"):
        if pd.api.types.is_numeric_dtype(products[name]):
            column = rankdata(products[name].fillna(-np.inf))
            rows.append((name, _partial(column, future, past)))
    found = pd.DataFrame(rows, columns=["column", "correlation"])
    found = found[found["correlation"].abs() >= threshold]
    return found.sort_values("correlation", key=abs, ascending=False, ignore_index=True)


def _partial(x: Floats, y: Floats, given: Floats) -> float:
    """Correlation of what a straight line in ``given`` leaves of x and of y; 0 if nothing."""
    centred = given - given.mean()
    left = []
    for values in (x, y):
        values = values - values.mean()
        slope = values @ centred / max(centred @ centred, 1e-12)
        left.append(values - slope * centred)
    size = float(np.linalg.norm(left[0]) * np.linalg.norm(left[1]))
    return float(left[0] @ left[1]) / size if size > 1e-6 else 0.0

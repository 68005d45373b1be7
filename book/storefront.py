"""The storefront: a page on which a customer's shelves by several recommenders stand side by side.

``python -m book.storefront build FOLDER --profile small`` writes ``shelves.html``, the piece that
``book/storefront.md`` shows, and ``index.html``, the same as a page that stands alone. What the
customer bought next was held out, and marked where a shelf holds it. A later part of the book adds
its shelf as one more entry of `SHELVES`. ``python -m book.storefront picture FOLDER`` has Chromium
photograph ``index.html`` for README; nothing else needs a browser.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reclib.collaborative import EASE, DotProduct, ItemKNN, Popularity
from reclib.datasets import load
from reclib.foundations.evaluation import Cases, cases_from_split, evaluate
from reclib.foundations.recommender import Recommender, recommend
from reclib.foundations.splitting import Split, split_last
from reclib.foundations.training import Options
from reclib.shop import Shop

__all__ = ["SHELVES", "Shelf", "build", "page", "photograph", "storefront_data"]

Ids = NDArray[np.int64]

N_CUSTOMERS = 24
N_CARDS = 10  # products on a shelf
N_BEFORE = 10  # earlier purchases that are shown
MIN_HISTORY = 4  # purchases before the one held out
MAX_PRODUCTS = 900  # pictures on the page, about 1.3 MB; customers who need more are left out
BEST = "oracle"  # the shelf that the others are measured by
QUALITY = 80  # of the WebP pictures; a product takes about 1 kB
HERE = Path(__file__).resolve().parent
PICTURE = HERE / "_static" / "storefront.webp"
PHOTO_WIDTH, PHOTO_BYTES = 1300, 300_000


@dataclass(frozen=True)
class Shelf:
    """One recommender on the page.

    Attributes:
        name: a short key.
        title: what the reader sees.
        about: half a sentence on how it chooses.
        chapter: part/stem of the chapter that explains it.
        fit: gives the recommender; it may learn from train and validation only.
    """

    name: str
    title: str
    about: str
    chapter: str
    fit: Callable[[Shop, Split], Any]


SHELVES: list[Shelf] = [
    Shelf(
        "popularity",
        "Popularity",
        "what most customers bought: the same for everybody",
        "foundations/first_recommender",
        lambda shop, split: Popularity().fit(split.train_and_validation),
    ),
    Shelf(
        "neighbours",
        "Item neighbours",
        "what was bought together with what this customer has",
        "collaborative/neighbors",
        lambda shop, split: ItemKNN(shrinkage=10.0).fit(split.train_and_validation),
    ),
    Shelf(
        "ease",
        "EASE",
        "a linear model that weighs all earlier purchases at once",
        "collaborative/linear",
        lambda shop, split: EASE(regularization=100.0).fit(split.train_and_validation),
    ),
    Shelf(
        "factors",
        "Factors",
        "vectors of customers and products, trained so that what was bought stands first",
        "collaborative/factorization",
        lambda shop, split: DotProduct(
            regularization=0.0,
            temperature=0.2,
            training=Options(epochs=18, batch_size=256, learning_rate=0.01, progress=False),
        ).fit(split.train_and_validation),
    ),
    Shelf(
        "oracle",
        "The oracle",
        "knows what this customer likes, which no shop does",
        "shop/simulation",
        lambda shop, split: shop.truth.oracle(),
    ),
]


# --- what the page says ------------------------------------------------------------------------


def storefront_data(
    shop: Shop, shelves: Sequence[Shelf] = SHELVES, *, n_customers: int = N_CUSTOMERS
) -> dict[str, Any]:
    """Fit the recommenders, choose the customers, and return all that the page holds.

    Args:
        shop: the simulated shop.
        shelves: the recommenders in the order of the page; one is called ``oracle``.
        n_customers: at most so many are shown.

    Returns:
        What is embedded as JSON: ``shop``, ``shelves``, ``products`` by id and ``customers``.
    """
    if BEST not in [shelf.name for shelf in shelves]:
        raise ValueError(f"shelves must hold one named {BEST}, got {[s.name for s in shelves]}")
    if n_customers < 1:
        raise ValueError(f"n_customers must be at least 1, got {n_customers}")
    split = split_last(shop.interactions.deduplicated())
    cases = cases_from_split(split)
    users = np.asarray(cases.users)
    models: list[Recommender] = [shelf.fit(shop, split) for shelf in shelves]
    metric = f"ndcg@{N_CARDS}"
    ndcg = np.stack([evaluate(model, cases, k=(N_CARDS,)).values[metric] for model in models])
    order = _varied(shop, cases, ndcg > 0, n_customers)  # (C,) rows of the cases
    order = _typical_first(order, ndcg)
    exclude = cases.exclude.select(order)
    lists = np.stack(
        [recommend(m, users[order], k=N_CARDS, exclude=exclude).items for m in models], axis=1
    )  # (C, S, K)
    customers: list[dict[str, Any]] = []
    shown: set[int] = set()
    for row, case in enumerate(order):
        history = cases.histories[case]
        filled = [_filled(each) for each in lists[row]]
        customer = {
            "id": int(users[case]),
            "who": _profile(shop, int(users[case])),
            "n_before": len(history),
            "before": history[-N_BEFORE:].tolist(),
            "next": cases.targets[case].tolist(),
            "lists": filled,
            "ndcg": [round(float(value), 3) for value in ndcg[:, case]],
            "reasons": [
                _reasons(model, history, items) for model, items in zip(models, filled, strict=True)
            ],
        }
        needed = _needed(customer)
        if len(shown | needed) <= MAX_PRODUCTS:
            shown |= needed
            customers.append(customer)
    means = np.nanmean(ndcg, axis=1)
    best = means[[shelf.name for shelf in shelves].index(BEST)]
    return {
        "shop": {
            "profile": shop.config.profile,
            "hash": shop.config.hash,
            "n_customers": len(cases),
            "n_products": shop.config.n_items,
        },
        "k": N_CARDS,
        "shelves": [
            {
                "name": shelf.name,
                "title": shelf.title,
                "about": shelf.about,
                "chapter": shelf.chapter,
                "mean": round(float(mean), 3),
                "share": round(float(mean / best), 2) if best > 0 else None,
            }
            for shelf, mean in zip(shelves, means, strict=True)
        ],
        "products": _products(shop, np.array(sorted(shown), dtype=np.int64)),
        "customers": customers,
    }


def _needed(customer: dict[str, Any]) -> set[int]:
    """The products whose pictures a customer's shelves show."""
    rows = [customer["before"], customer["next"], *customer["lists"], *customer["reasons"]]
    return {item for row in rows for item in row} - {-1}


def _filled(items: Ids) -> list[int]:
    """The products of a list; where none is left, recommenders put -1."""
    return [int(item) for item in items if item >= 0]


def _varied(shop: Shop, cases: Cases, hits: NDArray[np.bool_], n: int) -> Ids:
    """Rows of the cases, taken in turn from customers whom most, some, no and all shelves find.

    In each turn that customer comes next whose region, age and last department were taken least;
    among equals, the one who bought in the most departments of late.
    """
    n_shelves, n_found = len(hits), hits.sum(axis=0)
    users = np.asarray(cases.users)
    department = np.unique(shop.products["department"].to_numpy(str), return_inverse=True)[1]
    recent = cases.histories.last(N_BEFORE)
    bought = np.zeros((len(users), department.max() + 1), dtype=bool)
    bought[recent.rows, department[recent.items]] = True
    last = cases.histories.pad(1)[:, 0]  # -1 for none
    profile = shop.users.iloc[users]
    traits = [
        np.unique(values, return_inverse=True)[1]
        for values in (
            np.where(last < 0, -1, department[last]),
            profile["region"].to_numpy(str),
            profile["age_band"].to_numpy(str),
        )
    ]
    taken = [np.zeros(trait.max(initial=0) + 1, dtype=np.int64) for trait in traits]
    open_ = profile["consent_personalization"].to_numpy(bool).copy()
    open_ &= cases.histories.lengths >= MIN_HISTORY
    chosen: list[int] = []
    while open_.any() and len(chosen) < n:
        strata = np.unique(n_found[open_]).tolist()
        for stratum in sorted(strata, key=lambda found: (found == n_shelves, -found)):
            rows = np.flatnonzero(open_ & (n_found == stratum))
            if len(chosen) == n or not len(rows):
                continue
            crowd = sum(counts[trait[rows]] for counts, trait in zip(taken, traits, strict=True))
            row = int(rows[np.argmin(crowd - bought[rows].mean(axis=1) / 2)])
            open_[row] = False
            chosen.append(row)
            for counts, trait in zip(taken, traits, strict=True):
                counts[trait[row]] += 1
    return np.array(chosen, dtype=np.int64)


def _typical_first(order: Ids, ndcg: NDArray[np.float64]) -> Ids:
    """The same rows, that customer first whose shelves differ most nearly as the means do."""
    means = np.nanmean(ndcg, axis=1)
    own = ndcg[:, order] - ndcg[:, order].mean(axis=0)  # (S, C)
    length = np.linalg.norm(own, axis=0)
    agreement = (means - means.mean()) @ own / np.where(length > 0, length, 1)
    first = int(agreement.argmax())
    return np.concatenate([order[first : first + 1], np.delete(order, first)])


def _profile(shop: Shop, user: int) -> str:
    """What the shop knows about a customer; what is missing is left out."""
    row = shop.users.iloc[user]
    forms = {
        "age_band": "{}",
        "gender": "{}",
        "household": "{} household",
        "region": "{}",
        "device": "{}",
    }
    spelled = {"mobile": "phone", "couple": "couple's"}
    values = {name: str(row[name]) for name in forms}
    values["age_band"] = values["age_band"].replace("-", "–")
    return ", ".join(
        forms[name].format(spelled.get(value, value))
        for name, value in values.items()
        if value.lower() not in {"", "nan", "none", "unknown"}
    )


def _reasons(model: object, history: Ids, items: list[int]) -> list[int]:
    """The earlier purchase that speaks most for each item, -1 for none, of an item-item model."""
    weights = getattr(model, "item_weights_", None)
    if weights is None or weights.ndim != 2 or not len(history) or not items:
        return [-1] * len(items)
    part = weights[history][:, items]  # (H, K) what each purchase is worth for each item
    part = np.asarray(part.toarray() if hasattr(part, "toarray") else part)
    best = part.argmax(axis=0)
    return [int(history[row]) if part[row, k] > 0 else -1 for k, row in enumerate(best)]


def _products(shop: Shop, items: Ids) -> dict[str, list[str]]:
    """Title, price, text alternative and picture (WebP in base64) of the products shown."""
    titles = shop.products["title"].to_numpy(str)
    prices = shop.products["price"].to_numpy(float)
    rows = {}
    for item, pixels in zip(items.tolist(), shop.media.pictures(items), strict=True):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "WEBP", quality=QUALITY, method=6)
        code = base64.b64encode(stream.getvalue()).decode()
        rows[str(item)] = [titles[item], f"{prices[item]:.2f}", shop.media.alt(item), code]
    return rows


# --- the page ----------------------------------------------------------------------------------


def build(shop: Shop, shelves: Sequence[Shelf] = SHELVES, *, n_customers: int = N_CUSTOMERS) -> str:
    """Return the piece of HTML with style, data and script in it; equal inputs give equal bytes."""
    data = storefront_data(shop, shelves, n_customers=n_customers)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&":  # so that no title can end the script
        text = text.replace(char, f"\\u{ord(char):04x}")
    style = (HERE / "storefront.css").read_text(encoding="utf-8")
    script = (HERE / "storefront.js").read_text(encoding="utf-8")
    return (
        f"<style>\n{style}</style>\n"
        '<div class="storefront" id="storefront">\n'
        "<noscript><p>The shelves need JavaScript; nothing is loaded from elsewhere.</p></noscript>"
        "\n</div>\n"
        f'<script type="application/json" id="storefront-data">{text}</script>\n'
        f"<script>\n{script}</script>\n"
    )


def page(fragment: str) -> str:
    """Return the piece as a page of its own, whose links to chapters lead nowhere."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>The storefront</title>\n</head>\n"
        f'<body class="storefront-alone">\n{fragment}</body>\n</html>\n'
    )


def photograph(alone: Path, target: Path = PICTURE) -> None:
    """Have Chromium photograph a page of its own, and keep it as WebP.

    Raises:
        FileNotFoundError: if there is no page or no Chromium.
    """
    if not alone.is_file():
        raise FileNotFoundError(f"page must exist, run `python run.py storefront`; got {alone}")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next((path for name in names if (path := shutil.which(name))), None)
    if browser is None:
        raise FileNotFoundError("Chromium must be installed to photograph the page, got none")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        flags = (
            "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
            "--disable-component-update --disable-sync --hide-scrollbars "
            "--force-device-scale-factor=1 --virtual-time-budget=3000"
        ).split()
        address = alone.resolve().as_uri() + "?photo"
        command = [browser, *flags, f"--user-data-dir={folder}/profile"]
        command += [
            f"--window-size={PHOTO_WIDTH},{400 + 280 * len(SHELVES)}",
            f"--screenshot={shot}",
            address,
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            picture = _without_empty_end(image.convert("RGB"))
    for quality in (85, 70, 55, 40):
        picture.save(target, "WEBP", quality=quality, method=6)
        if target.stat().st_size <= PHOTO_BYTES:
            break
    print(f"{target}: {picture.width} x {picture.height}, {target.stat().st_size:,} bytes")


def _without_empty_end(image: Image.Image) -> Image.Image:
    """Cut off the rows below the page's last content."""
    pixels = np.asarray(image)
    used = np.flatnonzero((pixels != pixels[-1, 0]).any(axis=(1, 2)))
    return image.crop((0, 0, image.width, min(image.height, int(used.max(initial=0)) + 17)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m book.storefront")
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="write shelves.html and index.html")
    building.add_argument("folder", type=Path)
    building.add_argument("--profile", default="small")
    picture = commands.add_parser("picture", help="photograph index.html for README")
    picture.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "picture":
        photograph(options.folder / "index.html")
        return 0
    fragment = build(load("shop", profile=options.profile, seed=0))
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("shelves.html", fragment), ("index.html", page(fragment))):
        (options.folder / name).write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

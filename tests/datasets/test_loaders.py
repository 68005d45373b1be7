import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reclib.datasets import Dataset, load, names

SEQUENCES = b"1 1 2 3\n2 4 2\n3 1 5 5 2\n"
ATTRIBUTES = b'{"4": [1, 2], "1": [3], "2": [2, 2], "5": [], "6": [4]}'
S3REC = {"Beauty.txt": SEQUENCES, "Beauty_item2attributes.json": ATTRIBUTES}

LASTFM = {
    "data1.txt": b"4\t7\t993\r\n1\t2\t3.2466e+05\r\n4\t2\t1\r\n",
    "test1.txt": b"1\t7\t57\r\n",
    "trustnetwork.txt": b"1\t4\r\n2\t1\r\n",
}

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
USER = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
ML_100K = {
    "ml-100k.inter": (
        f"{INTER}7\t30\t3\t881250949\n9\t10\t5\t881250940\n7\t10\t1\t881250900\n".encode()
    ),
    "ml-100k.item": f"{ITEM}30\tÉté (1, 2)\t1994\tDrama War\n10\tBabe\tunkonwn\tDrama\n".encode(),
    "ml-100k.user": f"{USER}9\t53\tF\tother\t05201\n7\t24\tM\tlawyer\tE2A4H\n".encode(),
}


def put(shelf: Any, name: str, files: Mapping[str, bytes]) -> None:
    shelf.register(name, files)
    shelf.put(shelf.cache, name, files)


def rows(dataset: Dataset) -> list[tuple[int, ...]]:
    """The events as plain tuples."""
    return [tuple(row) for row in dataset.interactions.to_frame().to_numpy(dtype=int).tolist()]


def test_sequences_keep_their_order_and_count_from_zero(shelf: Any) -> None:
    put(shelf, "s3rec-beauty", S3REC)
    dataset = load("alias")
    assert dataset.name == "s3rec-beauty"
    assert rows(dataset) == [
        *((0, 0), (0, 1), (0, 2)),
        *((1, 3), (1, 1)),
        *((2, 0), (2, 4), (2, 4), (2, 1)),
    ]
    assert dataset.interactions.timestamps is None
    assert dataset.interactions.weights is None
    assert dataset.users.decode([0, 2]).tolist() == [1, 3]
    assert dataset.items.encode([5]).tolist() == [4]


def test_items_known_only_by_their_attributes_have_a_row(shelf: Any) -> None:
    put(shelf, "s3rec-beauty", S3REC)
    dataset = load("s3rec-beauty")
    assert dataset.interactions.n_items == 6
    expected = np.zeros((6, 4))
    for item, attribute in ((4, 1), (4, 2), (1, 3), (2, 2), (6, 4)):
        expected[item - 1, attribute - 1] = 1
    np.testing.assert_array_equal(dataset.item_features.toarray(), expected)


def test_the_order_of_users_in_the_file_does_not_matter(shelf: Any) -> None:
    put(shelf, "s3rec-beauty", {**S3REC, "Beauty.txt": b"3 1 5 5 2\n1 1 2 3\n2 4 2"})
    shuffled = rows(load("s3rec-beauty"))
    put(shelf, "s3rec-beauty", S3REC)
    assert shuffled == rows(load("s3rec-beauty"))


def test_social_plays_are_binary_in_the_published_split(shelf: Any) -> None:
    put(shelf, "lastfm-social", LASTFM)
    dataset = load("lastfm-social")
    assert rows(dataset) == [(0, 1), (0, 6), (3, 6), (3, 1)]
    assert (dataset.interactions.n_users, dataset.interactions.n_items) == (1892, 4489)
    assert dataset.interactions.weights is None
    split = dataset.split
    assert (len(split.train), len(split.validation), len(split.test)) == (3, 0, 1)
    assert split.test.users.tolist() == [0] and split.test.items.tolist() == [6]
    for part in (split.train, split.validation, split.test, split.train_and_validation):
        assert (part.n_users, part.n_items) == (1892, 4489)


def test_social_play_counts_and_friendships_stand_in_tables(shelf: Any) -> None:
    put(shelf, "lastfm-social", LASTFM)
    tables = load("lastfm-social").tables
    assert tables["plays"].to_numpy().tolist() == [
        [3, 6, 993.0, "train"],
        [0, 1, 324660.0, "train"],
        [3, 1, 1.0, "train"],
        [0, 6, 57.0, "test"],
    ]
    assert tables["friendships"].to_numpy().tolist() == [[0, 3], [1, 0]]


def test_ratings_have_times_and_ids_in_sorted_order(shelf: Any) -> None:
    put(shelf, "ml-100k", ML_100K)
    dataset = load("ml-100k")
    frame = dataset.interactions.to_frame()[["user", "item", "rating", "timestamp"]]
    assert frame.to_numpy(dtype=int).tolist() == [
        [0, 0, 1, 881250900],
        [0, 1, 3, 881250949],
        [1, 0, 5, 881250940],
    ]
    assert dataset.users.decode([0, 1]).tolist() == [7, 9]
    assert dataset.items.decode([0, 1]).tolist() == [10, 30]


def test_films_have_genres_and_decades_as_features(shelf: Any) -> None:
    put(shelf, "ml-100k", ML_100K)
    dataset = load("ml-100k")
    assert dataset.item_feature_names == (
        *("genre=Drama", "genre=War"),
        *("decade=1990s", "decade=unknown"),
    )
    assert dataset.item_features.toarray().tolist() == [[1, 0, 0, 1], [1, 1, 1, 0]]


def test_people_have_gender_occupation_and_age_as_features(shelf: Any) -> None:
    put(shelf, "ml-100k", ML_100K)
    dataset = load("ml-100k")
    assert dataset.user_feature_names == (
        *("gender=F", "gender=M", "occupation=lawyer", "occupation=other"),
        *("age=20s", "age=50s"),
    )
    assert dataset.user_features.toarray().tolist() == [[0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 0, 1]]


def test_titles_and_profiles_stand_in_tables(shelf: Any) -> None:
    put(shelf, "ml-100k", ML_100K)
    tables = load("ml-100k").tables
    assert tables["items"]["title"].tolist() == ["Babe", "Été (1, 2)"]
    assert tables["items"]["year"].isna().tolist() == [True, False]
    assert tables["items"]["genres"].tolist() == ["Drama", "Drama War"]
    assert tables["users"].to_numpy().tolist() == [
        [0, 24, "M", "lawyer", "E2A4H"],
        [1, 53, "F", "other", "05201"],
    ]


NUMBERS = "must be positive numbers, got"
INTEGERS = "must be positive integers, got"
MALFORMED = [
    ("s3rec-beauty", "Beauty.txt", b"1 2\n2 3 x 4\n", f"line 2: items {INTEGERS} 'x'"),
    ("s3rec-beauty", "Beauty.txt", b"1 2\nz 3\n", f"line 2: users {INTEGERS} 'z'"),
    ("s3rec-beauty", "Beauty.txt", b"1 2\n2 0\n", f"line 2: items {INTEGERS} '0'"),
    ("s3rec-beauty", "Beauty.txt", b"1 -2\n", f"line 1: items {INTEGERS} '-2'"),
    ("s3rec-beauty", "Beauty.txt", b"1 2.5\n", f"line 1: items {INTEGERS} '2.5'"),
    ("s3rec-beauty", "Beauty.txt", b"1 nan\n", f"line 1: items {INTEGERS} 'nan'"),
    ("s3rec-beauty", "Beauty.txt", b"1 2\n2 \xff\n", f"line 2: items {INTEGERS} '\ufffd'"),
    (
        *("s3rec-beauty", "Beauty.txt", b"1 2\n\n3 4\n"),
        "line 2: it must hold at least 2 numbers (users, items), got ''",
    ),
    (
        *("s3rec-beauty", "Beauty.txt", b"1 2\n2"),
        "line 2: it must hold at least 2 numbers (users, items), got '2'",
    ),
    (
        *("s3rec-beauty", "Beauty.txt", b"1 2\n2 3\n1 4\n"),
        "line 3: users must stand on one line only, got '1'",
    ),
    ("s3rec-beauty", "Beauty.txt", b"", "must hold at least one line, got none"),
    (
        *("s3rec-beauty", "Beauty_item2attributes.json", b'{"1": [2],\n"2": [3'),
        "line 2: it must be JSON, got \"Expecting ',' delimiter at column 8\"",
    ),
    (
        *("s3rec-beauty", "Beauty_item2attributes.json", b"[1]"),
        "line 1: it must be a JSON object, got 'list'",
    ),
    *(
        (
            *("s3rec-beauty", "Beauty_item2attributes.json", content),
            f"must map positive integers to lists of positive integers, got {got}",
        )
        for content, got in (
            (b'{"1": [2], "x": [3]}', "'x': [3]"),
            (b'{"1": [2], "0": [3]}', "'0': [3]"),
            (b'{"1": [2], "2": [0]}', "'2': [0]"),
            (b'{"1": [2], "2": [1.5]}', "'2': [1.5]"),
            (b'{"1": [2], "2": [true]}', "'2': [True]"),
            (b'{"1": [2], "2": "12"}', "'2': '12'"),
            (b'{"1": [2], "2": 5}', "'2': 5"),
        )
    ),
    ("lastfm-social", "data1.txt", b"1\t2\t3\n1\t2\tx\n", f"line 2: counts {NUMBERS} 'x'"),
    ("lastfm-social", "data1.txt", b"1\t2\t-3\n", f"line 1: counts {NUMBERS} '-3'"),
    ("lastfm-social", "data1.txt", b"1\t2\t3\n1.5\t2\t3\n", f"line 2: users {INTEGERS} '1.5'"),
    (
        *("lastfm-social", "test1.txt", b"1\t2\t3\r\n4\t5\r\n"),
        "line 2: it must hold 3 numbers (users, items, counts), got '4\\t5'",
    ),
    (
        *("lastfm-social", "trustnetwork.txt", b"1\t2\n1\t2\t3\n"),
        "line 2: it must hold 2 numbers (users, friends), got '1\\t2\\t3'",
    ),
    (
        *("ml-100k", "ml-100k.inter", b"user item\n1\t2\t3\t4\n"),
        f"line 1: it must be {INTER[:-1]!r}, got 'user item'",
    ),
    (
        *("ml-100k", "ml-100k.inter", f"{INTER}7\t30\t3\t881\n7\t30\tfive\t881\n".encode()),
        f"line 3: ratings {INTEGERS} 'five'",
    ),
    (
        *("ml-100k", "ml-100k.inter", f"{INTER}7\t30\t3\t881\n8\t30\t3\t881\n".encode()),
        "line 3: users must stand in ml-100k.user, got '8'",
    ),
    (
        *("ml-100k", "ml-100k.inter", f"{INTER}7\t31\t3\t881\n".encode()),
        "line 2: items must stand in ml-100k.item, got '31'",
    ),
    (
        *("ml-100k", "ml-100k.item", f"{ITEM}30\tBabe\t1994\n".encode()),
        "line 2: it must hold 4 fields (item_id, movie_title, release_year, class), got "
        "'30\\tBabe\\t1994'",
    ),
    (
        *("ml-100k", "ml-100k.item", f"{ITEM}30\tBabe\t1994\tWar\n30\tBabe\t1994\tWar\n".encode()),
        "line 3: item_id must stand on one line only, got '30'",
    ),
    (
        *("ml-100k", "ml-100k.item", ITEM.encode() + b"30\tBabe\t1994\tWar\n3\t\xc9t\t1994\tWar"),
        "line 3: it must be UTF-8, got 'byte c9'",
    ),
    (
        *("ml-100k", "ml-100k.user", f"{USER}7\told\tF\tother\t05201\n".encode()),
        f"line 2: age {INTEGERS} 'old'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "content", "message"), MALFORMED)
def test_a_malformed_file_is_named_with_its_line(
    shelf: Any, name: str, file: str, content: bytes, message: str
) -> None:
    whole = {"s3rec-beauty": S3REC, "lastfm-social": LASTFM, "ml-100k": ML_100K}[name]
    put(shelf, name, {**whole, file: content})
    with pytest.raises(ValueError) as error:
        load(name)
    separator = " " if message.startswith(("line", "must")) else ""
    assert str(error.value) == f"{name}/{file}{separator}{message}"


def test_a_damaged_file_is_refused_before_it_is_parsed(shelf: Any) -> None:
    put(shelf, "s3rec-beauty", S3REC)
    shelf.put(shelf.cache, "s3rec-beauty", {"Beauty.txt": b"not these\n"})
    with pytest.raises(
        ValueError, match=r"^s3rec-beauty/Beauty\.txt must have 24 bytes and sha256"
    ):
        load("s3rec-beauty")


def test_load_downloads_what_is_missing(shelf: Any, origin: Any) -> None:
    shelf.register("s3rec-beauty", S3REC, repository=origin.url)
    origin.files = S3REC
    assert len(load("s3rec-beauty").interactions) == 9
    assert len(origin.ranges) == 2


def test_an_unknown_name_is_refused_with_those_that_come_close() -> None:
    with pytest.raises(KeyError) as error:
        load("ml-100")
    assert error.value.args[0] == (
        "name must be a data set, got 'ml-100'; did you mean ml-100k or movielens-100k?"
    )


def test_a_data_set_without_a_loader_says_which_chapter_brings_it() -> None:
    with pytest.raises(ValueError) as error:
        load("tmall")
    assert str(error.value) == (
        "name must be a data set with a loader (s3rec-beauty, s3rec-sports, s3rec-lastfm, "
        "lastfm-social, ml-100k, shop), got 'tmall-sessions'; its loader comes with the chapter "
        "sequential/sessions, and until then reclib.datasets.fetch('tmall-sessions') gives its "
        "files"
    )


def test_options_are_for_the_shop_only() -> None:
    with pytest.raises(TypeError) as error:
        load("ml-100k", seed=1)
    assert str(error.value) == "options must be empty for ml-100k, got seed"


def test_the_shop_is_loaded_without_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reclib.datasets.registry.REGISTRY", tmp_path / "none.toml")
    monkeypatch.setenv("RECLIB_DATA", str(tmp_path))
    shop = load("shop", profile="tiny", seed=0)
    assert shop.name == "shop"
    assert shop.interactions.n_items == shop.item_features.shape[0]


def test_a_dataset_is_frozen_and_says_what_it_is(shelf: Any) -> None:
    put(shelf, "s3rec-beauty", S3REC)
    dataset = load("s3rec-beauty")
    assert repr(dataset) == "Dataset(s3rec-beauty: Interactions(9 events, 3 users, 6 items))"
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"


# The published files themselves; each is compared with a parser that is slow and obvious.


@pytest.mark.parametrize(
    ("name", "users", "items", "events", "attributes"),
    [
        ("s3rec-beauty", 22_363, 12_101, 198_502, 637),
        ("s3rec-sports", 35_598, 18_357, 296_337, 2_277),
        ("s3rec-lastfm", 1_090, 3_646, 52_551, 388),
    ],
)
def test_published_sequences_equal_a_slow_parser(
    real: Any, real_files: Any, name: str, users: int, items: int, events: int, attributes: int
) -> None:
    dataset = real(name)
    assert (dataset.interactions.n_users, dataset.interactions.n_items) == (users, items)
    assert len(dataset.interactions) == events
    assert dataset.item_features.shape == (items, attributes)
    sequences, lists = real_files(name).values()
    slow = [
        (int(line.split()[0]) - 1, int(item) - 1)
        for line in sequences.read_text().splitlines()
        for item in line.split()[1:]
    ]
    assert rows(dataset) == slow
    pairs = {
        (int(item) - 1, attribute - 1)
        for item, values in json.loads(lists.read_text()).items()
        for attribute in values
    }
    assert set(zip(*map(np.ndarray.tolist, dataset.item_features.nonzero()), strict=True)) == pairs
    assert set(dataset.item_features.data.tolist()) == {1.0}


def test_published_social_plays_equal_a_slow_parser(real: Any, real_files: Any) -> None:
    dataset, files = real("lastfm-social"), real_files("lastfm-social")
    split = dataset.split
    assert (len(split.train), len(split.validation), len(split.test)) == (42_135, 0, 10_533)
    assert np.unique(dataset.interactions.users).size == 1_880
    assert np.unique(dataset.interactions.items).size == 4_489
    for part, file in ((split.train, "data1.txt"), (split.test, "test1.txt")):
        slow = [
            (int(user) - 1, int(item) - 1)
            for user, item, _ in (row.split() for row in files[file].read_text().splitlines())
        ]
        assert sorted(zip(part.users.tolist(), part.items.tolist(), strict=True)) == sorted(slow)
    known = set(zip(split.train.users.tolist(), split.train.items.tolist(), strict=True))
    assert known.isdisjoint(zip(split.test.users.tolist(), split.test.items.tolist(), strict=True))
    assert len(dataset.tables["friendships"]) == 25_434
    plays = dataset.tables["plays"]
    assert plays.loc[0, ["user", "item", "count"]].tolist() == [423, 4075, 993.0]


def test_published_ratings_equal_a_slow_parser(real: Any, real_files: Any) -> None:
    dataset, files = real("ml-100k"), real_files("ml-100k")
    assert (dataset.interactions.n_users, dataset.interactions.n_items) == (943, 1_682)
    lines = files["ml-100k.inter"].read_text().splitlines()[1:]
    slow = sorted(tuple(int(word) for word in line.split()) for line in lines)
    inner = dataset.interactions
    columns = (inner.users + 1, inner.items + 1, inner.ratings.astype(int), inner.timestamps)
    assert len(slow) == 100_000
    assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == slow
    titles = dataset.tables["items"]
    assert titles.loc[0, ["title", "year"]].tolist() == ["Toy Story", 1995]
    toy_story = dataset.item_features[[0]].nonzero()[1]
    assert [dataset.item_feature_names[column] for column in toy_story] == [
        *("genre=Animation", "genre=Children's", "genre=Comedy", "decade=1990s")
    ]
    assert dataset.user_features.sum(1).tolist() == [3.0] * 943


def test_every_published_file_is_as_registered(real_files: Any) -> None:
    for name in names():
        assert len(real_files(name)) > 0

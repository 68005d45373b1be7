from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from reclib.datasets import load
from reclib.foundations.interactions import Triples

WORDNET = {
    "entities.dict": b"0\t20\n1\t10\n2\t30\n3\t05\n",
    "relations.dict": b"0\t_part\n1\t_kind\n",
    "train.txt": b"20\t_kind\t10\r\n10\t_part\t30\r\n",
    "valid.txt": b"30\t_kind\t20\n",
    "test.txt": b"05\t_part\t20",
}


def put(shelf: Any, name: str, files: Mapping[str, bytes]) -> None:
    shelf.register(name, files)
    shelf.put(shelf.cache, name, files)


def facts(triples: Triples) -> list[tuple[int, ...]]:
    """The triples as plain tuples."""
    columns = np.stack([triples.heads, triples.relations, triples.tails], axis=1)
    return [tuple(row) for row in columns.tolist()]


def test_facts_keep_their_order_and_their_part(shelf: Any) -> None:
    put(shelf, "wn18rr", WORDNET)
    data = load("wn18rr")
    assert facts(data.train) == [(2, 0, 1), (1, 1, 3)]
    assert facts(data.validation) == [(3, 0, 2)]
    assert facts(data.test) == [(0, 1, 2)]


def test_entities_and_relations_are_numbered_in_sorted_order(shelf: Any) -> None:
    put(shelf, "wn18rr", WORDNET)
    data = load("wn18rr")
    assert data.entities.decode(range(4)).tolist() == ["05", "10", "20", "30"]
    assert data.relation_names == ("_kind", "_part")


def test_entities_without_a_train_fact_count(shelf: Any) -> None:
    put(shelf, "wn18rr", WORDNET)
    data = load("wn18rr")
    assert {(part.n_entities, part.n_relations) for part in (data.train, data.test)} == {(4, 2)}


def test_a_graph_shows_its_sizes(shelf: Any) -> None:
    put(shelf, "wn18rr", WORDNET)
    assert repr(load("wn18rr")) == (
        "TripleDataset(wn18rr: Triples(2 facts, 4 entities, 2 relations), 1 and 1 facts held out)"
    )


MALFORMED = [
    ("train.txt", b"20\t_kind\t11\n", "line 1: tail must be in the list, got '11'"),
    ("train.txt", b"20\t_kind\t10\n40\t_kind\t1", "line 2: head must be in the list, got '40'"),
    ("test.txt", b"20\t_of\t10\n", "line 1: relation must be in the list, got '_of'"),
    (
        *("valid.txt", b"20\t_kind\t10\n20\t10\n"),
        "line 2: it must hold 3 fields (head, relation, tail), got '20\\t10'",
    ),
    (
        *("entities.dict", b"0\t20\n1\t10\n2\t20\n"),
        "line 3: name must stand on one line only, got '20'",
    ),
]


@pytest.mark.parametrize(("file", "content", "message"), MALFORMED)
def test_a_malformed_graph_is_named_with_its_line(
    shelf: Any, file: str, content: bytes, message: str
) -> None:
    put(shelf, "wn18rr", {**WORDNET, file: content})
    with pytest.raises(ValueError) as error:
        load("wn18rr")
    assert str(error.value) == f"wn18rr/{file} {message}"


def test_published_facts_equal_a_slow_parser(real: Any, real_files: Any) -> None:
    data, files = real("wn18rr"), real_files("wn18rr")
    assert (data.train.n_entities, data.train.n_relations) == (40_943, 11)
    sizes = [len(part) for part in (data.train, data.validation, data.test)]
    assert sizes == [86_835, 3_034, 3_134]
    names = sorted(line.split()[1] for line in files["entities.dict"].read_text().splitlines())
    kinds = sorted(line.split()[1] for line in files["relations.dict"].read_text().splitlines())
    for part, file in ((data.validation, "valid.txt"), (data.test, "test.txt")):
        lines = files[file].read_text().splitlines()
        slow = [(names[head], kinds[relation], names[tail]) for head, relation, tail in facts(part)]
        assert slow == [tuple(line.split()) for line in lines]


def test_published_test_facts_name_entities_that_train_does_not_know(real: Any) -> None:
    data = real("wn18rr")
    seen = np.union1d(data.train.heads, data.train.tails)
    known = np.isin(data.test.heads, seen) & np.isin(data.test.tails, seen)
    assert (seen.size, (~known).sum()) == (40_559, 210)

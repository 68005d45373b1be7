"""What a graph may say: types of entities, relations between them, and the schema of the shop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

CARDINALITIES = ("one-to-one", "many-to-one", "one-to-many", "many-to-many")


@dataclass(frozen=True)
class Relation:
    """One relation, as declared by hand.

    Attributes:
        name: letters, digits and underscores.
        domain: type of the heads; ``leaf|category`` means either.
        range: type of the tails, likewise.
        cardinality: ``many-to-one`` means that a head has one tail at most.
        symmetric: whether (h, r, t) says (t, r, h) as well.
        hierarchical: whether following it must never lead back.
    """

    name: str
    domain: str
    range: str
    cardinality: str = "many-to-many"
    symmetric: bool = False
    hierarchical: bool = False

    def __post_init__(self) -> None:
        """Check what one relation can be checked for by itself."""
        if not self.name.isidentifier():
            raise ValueError(f"name must be letters, digits and underscores, got {self.name!r}")
        if self.cardinality not in CARDINALITIES:
            raise ValueError(
                f"cardinality of {self.name} must be one of {CARDINALITIES}, "
                f"got {self.cardinality!r}"
            )
        if self.symmetric and set(self.domain.split("|")) != set(self.range.split("|")):
            raise ValueError(
                f"range of {self.name} must be its domain {self.domain!r} since it is symmetric, "
                f"got {self.range!r}"
            )
        if self.symmetric and self.cardinality not in ("one-to-one", "many-to-many"):
            raise ValueError(
                f"cardinality of {self.name} must be one-to-one or many-to-many since it is "
                f"symmetric, got {self.cardinality!r}"
            )
        if self.symmetric and self.hierarchical:
            raise ValueError(f"{self.name} must not be both symmetric and hierarchical, got both")


@dataclass(frozen=True)
class Schema:
    """Types and relations; a fact that breaks them is reported, never taken.

    Attributes:
        types: names of the types of entities.
        relations: each name once; a relation's number is its place.
    """

    types: tuple[str, ...]
    relations: tuple[Relation, ...]

    def __post_init__(self) -> None:
        """Check that names are unique and types declared."""
        object.__setattr__(self, "types", tuple(self.types))
        object.__setattr__(self, "relations", tuple(self.relations))
        for what, names in (("types", self.types), ("relations", self.names)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} must each have a name of their own, got {twice[0]} twice")
        for name in self.types:
            if not name.isidentifier():
                raise ValueError(f"types must be letters, digits and underscores, got {name!r}")
        for each in self.relations:
            for end in ("domain", "range"):
                unknown = sorted(set(getattr(each, end).split("|")) - set(self.types))
                if unknown:
                    raise ValueError(
                        f"{end} of {each.name} must be among the types {self.types}, "
                        f"got {unknown[0]!r}"
                    )

    @property
    def names(self) -> tuple[str, ...]:
        """The relations' names, in the order of their numbers."""
        return tuple(each.name for each in self.relations)

    def extended(self, types: tuple[str, ...], relations: tuple[Relation, ...]) -> Schema:
        """The schema with more types and relations; what is there keeps its number.

        Raises:
            ValueError: if a name is there and means something else.
        """
        known = {each.name: each for each in self.relations}
        for each in relations:
            if known.setdefault(each.name, each) != each:
                raise ValueError(f"{each.name} must stay {known[each.name]}, got {each}")
        new = tuple(each for each in relations if each.name not in self.names)
        return Schema(tuple(dict.fromkeys((*self.types, *types))), (*self.relations, *new))

    def frame(self) -> pd.DataFrame:
        """The relations as a table: relation (number), name, domain, range, cardinality, ..."""
        rows = [
            (r.name, r.domain, r.range, r.cardinality, r.symmetric, r.hierarchical)
            for r in self.relations
        ]
        columns = ["name", "domain", "range", "cardinality", "symmetric", "hierarchical"]
        frame = pd.DataFrame(rows, columns=columns)
        frame.insert(0, "relation", np.arange(len(rows)))
        return frame

    def allows(self, relation: str, end: str) -> tuple[str, ...]:
        """The types that ``domain`` or ``range`` of a relation admits."""
        kinds: str = getattr(self.relations[self.names.index(relation)], end)
        return tuple(kinds.split("|"))


_ONE = "many-to-one"
_SHELVES = ("leaf|category", "category|department")
SHOP = Schema(
    types=(
        "product", "brand", "owner", "leaf", "category", "department", "colour", "material",
        "pattern", "style", "audience", "season", "size", "feature", "country", "occasion",
        "user", "query", "review",
    ),
    relations=(
        # products and their attributes, with the names of `reclib.shop.relations`
        Relation("has_brand", "product", "brand", _ONE),
        Relation("in_leaf", "product", "leaf", _ONE),
        Relation("sub_of", *_SHELVES, _ONE, hierarchical=True),
        Relation("has_colour", "product", "colour", _ONE),
        Relation("has_material", "product", "material", _ONE),
        Relation("has_pattern", "product", "pattern", _ONE),
        Relation("has_style", "product", "style", _ONE),
        Relation("for_audience", "product", "audience", _ONE),
        Relation("suits_season", "product", "season", _ONE),
        Relation("has_size", "product", "size", _ONE),
        Relation("has_feature", "product", "feature", _ONE),
        Relation("made_in", "product", "country", _ONE),
        # in no table: for texts and for people to say
        Relation("brand_owned_by", "brand", "owner", _ONE),
        Relation("fits_occasion", "product", "occasion"),
        Relation("compatible_with", "product", "product"),
        Relation("substitute_of", "product", "product", symmetric=True),
        Relation("variant_of", "product", "product", symmetric=True),
        # behaviour, interest and feedback
        Relation("sold_with", "product", "product", symmetric=True),
        Relation("viewed", "user", "product"),
        Relation("bought", "user", "product"),
        Relation("rated", "user", "product"),
        Relation("interested_in", "user", "leaf|brand"),
        Relation("leads_to", "query", "product|leaf"),
        Relation("wrote", "user", "review", "one-to-many"),
        Relation("about", "review", "product", _ONE),
    ),
)  # fmt: skip
"""The shop's graph, made by hand; four of its relations stand in no table."""

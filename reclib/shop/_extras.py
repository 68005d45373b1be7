"""What a shop has beside its log, made when it is first asked for: pictures, words, graph, ads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from reclib.shop._config import DAY, START, SimConfig
from reclib.shop._world import World
from reclib.shop.advertising import AdCatalogue, AdRequests, Advertising, run_market
from reclib.shop.media import Media
from reclib.shop.relations import GraphLog, KnowledgeGraph, public_graph, true_graph
from reclib.shop.reviews import Reviews, reviews

Tables = Mapping[str, pd.DataFrame]
_COLOR_MATCH = (0.1, 0.2, 0.7)  # other than pictured, close, as pictured
_DELIVERY = (0.15, 0.6, 0.25)  # late, as announced, early


class Graphs(NamedTuple):
    """The public graph, the true one, and what is missing and false in the first."""

    public: KnowledgeGraph
    true: KnowledgeGraph
    log: GraphLog


class _Own(NamedTuple):
    """The streams of one domain under the name that `run_market` asks for."""

    config: SimConfig

    def stream(self, name: str, *key: int) -> np.random.Generator:
        return self.config.own_stream(name, *key)


def media_of(world: World) -> Media:
    """Pictures, jingles and clips, drawn on demand."""
    codes = {**world.codes, "brand": world.brand, "leaf": world.leaves}
    config = world.config
    return Media(codes, world.leaf_names, seed=config.seed, domain=config.domain)


def graphs_of(world: World, tables: Tables) -> Graphs:
    """The knowledge graph; ``sold_with`` is of what was bought together."""
    purchases = tables["purchases"]
    true = true_graph(world, purchases["session"], purchases["item"])
    public, log = public_graph(true, world.config.own_stream("graph"))
    return Graphs(public, true, log)


def reviews_of(world: World, tables: Tables) -> Reviews:
    """A text for each row of ``ratings``."""
    ratings, products = tables["ratings"], tables["products"]
    random = world.config.own_stream("reviews")
    item = ratings["item"].to_numpy()
    return reviews(
        ratings["rating"].to_numpy(),
        world.quality[item],
        random.choice((-1, 0, 1), len(item), p=_COLOR_MATCH),
        random.choice((-1, 0, 1), len(item), p=_DELIVERY),
        products["leaf"].to_numpy()[item].tolist(),
        products["colour"].to_numpy()[item].tolist(),
        random,
    )


def advertising_of(world: World, tables: Tables) -> Advertising:
    """The banners beside the slates, auctioned after each day; customers do not mind them."""
    requests, sessions = tables["truth_requests"], tables["sessions"]
    session = requests["session"].to_numpy()
    users = sessions["user"].to_numpy()[session].astype(np.int64)
    day = (sessions["start"].to_numpy()[session] - START) // DAY
    timestamps = np.empty(len(requests), dtype=np.int64)
    impressions = tables["impressions"]
    timestamps[impressions["request"].to_numpy()] = impressions["timestamp"].to_numpy()
    vectors = np.empty((len(requests), world.config.n_factors))
    for each in np.unique(day):
        vectors[day == each] = world.vectors(users[day == each], each)
    asked = AdRequests(
        request=requests["request"].to_numpy().astype(np.int64),
        user=users,
        timestamp=timestamps,
        leaf=requests["leaf"].to_numpy().astype(np.int64),
        vectors=vectors,
    )
    return run_market(_Own(world.config), asked, AdCatalogue.of(world))

"""Recommending from what others took: popularity, neighbours, content and linear models."""

from reclib.collaborative.content import ContentKNN, HybridKNN
from reclib.collaborative.linear import EASE
from reclib.collaborative.neighbors import ItemKNN, UserKNN
from reclib.collaborative.neural import NCF
from reclib.collaborative.popularity import Popularity

__all__ = ["EASE", "NCF", "ContentKNN", "HybridKNN", "ItemKNN", "Popularity", "UserKNN"]

"""Recommending from what others took: popularity, neighbours, content and linear models."""

from reclib.collaborative.linear import EASE
from reclib.collaborative.neighbors import ItemKNN, UserKNN
from reclib.collaborative.popularity import Popularity

__all__ = ["EASE", "ItemKNN", "Popularity", "UserKNN"]

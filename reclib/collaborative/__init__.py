"""Recommending from what others took: neighbours, content, linear models, factors, networks."""

from reclib.collaborative.content import ContentKNN, HybridKNN
from reclib.collaborative.factorization import BPR, DotProduct, ImplicitALS, MatrixFactorization
from reclib.collaborative.graph import LightGCN
from reclib.collaborative.linear import EASE
from reclib.collaborative.neighbors import ItemKNN, UserKNN
from reclib.collaborative.neural import NCF
from reclib.collaborative.popularity import Popularity

__all__ = [
    "BPR",
    "EASE",
    "NCF",
    "ContentKNN",
    "DotProduct",
    "HybridKNN",
    "ImplicitALS",
    "ItemKNN",
    "LightGCN",
    "MatrixFactorization",
    "Popularity",
    "UserKNN",
]

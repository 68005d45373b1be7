"""Recommending from what others took: neighbours, content, linear models, networks, facts."""

from reclib.collaborative.content import ContentKNN, HybridKNN
from reclib.collaborative.factorization import BPR, DotProduct, ImplicitALS, MatrixFactorization
from reclib.collaborative.graph import LightGCN
from reclib.collaborative.knowledge_aware import CFKG, KGAT, KGCN
from reclib.collaborative.linear import EASE
from reclib.collaborative.neighbors import ItemKNN, UserKNN
from reclib.collaborative.neural import NCF
from reclib.collaborative.paths import PathEASE
from reclib.collaborative.popularity import Popularity

__all__ = [
    "BPR",
    "CFKG",
    "EASE",
    "KGAT",
    "KGCN",
    "NCF",
    "ContentKNN",
    "DotProduct",
    "HybridKNN",
    "ImplicitALS",
    "ItemKNN",
    "LightGCN",
    "MatrixFactorization",
    "PathEASE",
    "Popularity",
    "UserKNN",
]

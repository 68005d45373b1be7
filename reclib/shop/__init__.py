"""The simulated shop: one small world whose truth is known."""

from reclib.shop._cache import load
from reclib.shop.simulation import Shop, SimConfig, simulate

__all__ = ["Shop", "SimConfig", "load", "simulate"]

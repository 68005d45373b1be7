"""The simulated shop: one small world whose truth is known."""

from reclib.shop.simulation import Shop, SimConfig, load, open_shop, simulate

__all__ = ["Shop", "SimConfig", "load", "open_shop", "simulate"]

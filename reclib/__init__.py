"""The package behind *Search and Recommendation for E-commerce: from Knowledge Graphs to Large Models*."""

__all__ = ["__version__"]

__version__ = "0.1.0"

"""The package behind *Search and Recommendation for E-commerce*.

Each part of the book is a subpackage, and each chapter has a module of its name.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"

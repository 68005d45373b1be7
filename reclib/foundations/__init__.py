"""Interactions, splits, metrics, evaluation and persistence: what every chapter stands on."""

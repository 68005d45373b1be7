"""Rows of results: ours and the peer in turn, on real data.

Each module exposes ``ROWS``, names of rows and the functions that compute them; `python run.py
results` runs them one at a time and writes ``data/results/``.
"""

"""Ranks, and what is computed from them."""

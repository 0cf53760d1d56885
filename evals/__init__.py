"""Retrieval evaluation: encode once, score many, and say how sure we are."""

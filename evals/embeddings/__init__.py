"""Embeddings: on disk, cut to fewer dimensions, in fewer bits."""

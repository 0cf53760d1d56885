"""mteb's tasks, measured by our encoders, store and search."""

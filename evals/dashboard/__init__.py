"""The records as a static site that works without a server and without a network."""

"""The jina-clip models, v1 and v2, in plain torch: official weights, no remote code."""

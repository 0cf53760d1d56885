"""The gate between two measurements: did a change make retrieval worse?

Reads records only, and loads no torch.
"""

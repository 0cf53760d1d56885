"""Hands finished records to experiment trackers: trackio, Weights & Biases, MLflow."""

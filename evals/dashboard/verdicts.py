"""The pages that judge: published against measured, gates against baselines, and the newest two models against each other."""

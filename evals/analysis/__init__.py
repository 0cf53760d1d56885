"""From records and embeddings to findings: comparisons, worst queries, the modality gap."""

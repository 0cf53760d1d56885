"""Run records: written, read, chosen."""

"""The published tables beside what our records say; reads records only and never loads torch."""

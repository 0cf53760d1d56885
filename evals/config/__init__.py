"""The rows of configs/*.yaml, and what a name on the command line means."""

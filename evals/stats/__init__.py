"""Intervals, paired tests and correlation."""

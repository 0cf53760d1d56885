"""The shape vocabulary of intervals and tests.

q queries, g groups (clusters) of queries, m metrics, s resamples, n pairs of scores.
"""

import numpy as np
from jaxtyping import Float, Float64, Int, UInt8

Values = Float[np.ndarray, "q"]  # of one metric
Groups = Int[np.ndarray, "q"]  # the group of each query
Changes = Float64[np.ndarray, "q m"]
GroupShares = Float64[np.ndarray, "g m"]
Resampled = Float64[np.ndarray, "s"]
Draws = UInt8[np.ndarray, "s g"]  # how often each resample has each group
PartOfDraws = UInt8[np.ndarray, "_ g"]  # of resamples that follow each other

Scores = Float64[np.ndarray, "n"]
Places = Int[np.ndarray, "n"]  # of each score among the distinct ones

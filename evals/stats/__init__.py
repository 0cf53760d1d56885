"""What a number is worth: intervals of means, paired tests of two runs, and correlation.

The files in reading order:

    clusters.py      which queries vary together, as the captions of an image do
    bootstrap.py     intervals from resampled clusters
    intervals.py     the interval of every mean in a record: the bootstrap, or a binomial one
    paired.py        the change between two runs: interval, p, Holm's correction
    kept.py          the share that a cut vector keeps of the full one's score
    all_pairs.py     which of many models are better, all pairs at once; the ranks that are left
    sample_size.py   how many images show a difference
    family.py        one-sided tests of many metrics at once, for the gate of regressions
    sequential.py    a drop seen at one of many checkpoints, with one rate of false alarms for all
    correlation.py   Spearman's correlation, its interval and its change
    shapes.py        names for the shapes of arrays
"""

"""Watching a training run: each new checkpoint is measured, and a drop is called once it is sure.

The files in reading order:

    checkpoints.py   which checkpoints lie in a folder, and whether they are complete
    judging.py       how a checkpoint compares with the baseline, and whether it fell
    journal.py       what was measured so far, a line per checkpoint
    ownership.py     one run per journal, and one watch at a time
    watching.py      the loop: find, measure, judge, write down
    curve.py         the changes over the steps, with their intervals, as a picture
"""

"""Where the sums over bootstrap resamples are added: on the card that scored, or on the host.

Draws are numpy's, on the host. The sums of groups are on a grid (evals.stats.bootstrap), so that
their totals are exact in any order: a card gives the intervals of a CPU, bit for bit. It has not
been timed on one.

Shapes: s resamples, g groups, m metrics.
"""

from collections.abc import Iterable
from functools import partial

import numpy as np
from jaxtyping import Float64

from evals.ranking.products import as_tensor
from evals.stats.bootstrap import Totals, host_totals
from evals.stats.shapes import PartOfDraws


def totals_on(device: str) -> Totals:
    """How totals are added where rows are scored on the device."""
    # other accelerators have no float64, or a slow one
    return partial(device_totals, device) if device.startswith("cuda") else host_totals


def device_totals(
    device: str, draws: Iterable[PartOfDraws], sums: Float64[np.ndarray, "g m"]
) -> Float64[np.ndarray, "s m"]:
    """The sum of each metric over each resample."""
    import torch

    columns = as_tensor(sums, device)
    # draws go as bytes, an eighth of what the product takes
    totals = [as_tensor(times, device).double() @ columns for times in draws]
    on_host: np.ndarray = torch.cat(totals).cpu().numpy()
    return on_host

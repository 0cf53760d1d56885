"""What compiling the image tower block by block must give: python -m tests.compiled_checks eager|inductor.

`eager` runs what the compiler captures by torch as it is. A process of its own: shapes are not
checked in it, which the compiler would take for code of the tower.
"""

import sys
from dataclasses import replace

import torch
from torch import nn
from torch._dynamo.utils import counters

from jina_clip import V2
from jina_clip.budget import Budget
from jina_clip.passes import image_rows
from jina_clip.shapes import Bytes, Features
from jina_clip.vision import VisionTower

SIDE = 56


def main(backend: str) -> None:
    """Rows as without the compiler, one graph for one size, and padding that no row depends on."""
    compile_module = nn.Module.compile
    nn.Module.compile = lambda self, **options: compile_module(self, backend=backend, **options)
    torch.manual_seed(0)
    config = replace(V2.vision, layers=5, width=64, head_width=16, image_size=SIDE)
    eager, compiled = (VisionTower(config).eval() for _ in range(2))
    compiled.load_state_dict(eager.state_dict())
    compiled.compile_blocks()
    images = torch.randint(0, 256, (7, 3, SIDE, SIDE), dtype=torch.uint8)
    sizes = []

    def features(batch: Bytes) -> Features:
        sizes.append(len(batch))
        return compiled(batch.float() / 255)

    with torch.inference_mode():
        expected = eager(images.float() / 255)
        full = features(images[:4])
        torch.testing.assert_close(full, expected[:4], atol=1e-5, rtol=1e-5)
        # 4 and then 3, which are filled up to 4
        rows = torch.cat(image_rows(features, images, Budget(4, "images"), one_size=True))
        padded = features(torch.cat([images[:3], images[:1]]))
    assert sizes == [4, 4, 4, 4]
    assert torch.equal(rows[:4], full) and torch.equal(padded[:3], full[:3])
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-5)
    # four equal blocks, and the last one, which is left as it is
    stats = counters["stats"]
    assert stats["unique_graphs"] == 1, stats
    # a block is some 40 operations, and the whole tower would be five times as many
    assert stats["calls_captured"] < 60, stats


if __name__ == "__main__":
    main(sys.argv[1])

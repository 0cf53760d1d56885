"""The packages that can change a number, and their versions here.

None of them is loaded for it.
"""

import importlib.metadata
import sys
from collections.abc import Mapping
from functools import cache

# By name, with the module by which a process has loaded it
PACKAGES = {
    "jina-clip-evals": "evals",
    "torch": "torch",
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "safetensors": "safetensors",
    "numpy": "numpy",
    "numba": "numba",
    "pillow": "PIL",
    "datasets": "datasets",
    "huggingface-hub": "huggingface_hub",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "open-clip-torch": "open_clip",
    "sentence-transformers": "sentence_transformers",
    "mteb": "mteb",
    "clip-benchmark": "clip_benchmark",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "timm": "timm",
    "triton": "triton",
    "flash-attn": "flash_attn",
    "flash-attn-4": "flash_attn.cute",
    "nvidia-cutlass-dsl": "cutlass",
}


def loaded_packages() -> dict[str, str]:
    """The versions of what can have changed a number of this process: what it has not loaded cannot."""
    return {name: version for name, version in packages().items() if PACKAGES[name] in sys.modules}


@cache
def packages() -> Mapping[str, str]:
    """Installed versions of what can change a number, looked up once a process."""
    # From the metadata: importing torch for its version would take seconds.
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions

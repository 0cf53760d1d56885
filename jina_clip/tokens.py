"""Texts to token ids with the checkpoint's own tokenizer.json."""

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from jina_clip.config import CheckpointError, TextConfig
from jina_clip.packing import Ids
from jina_clip.shapes import TokenIds

_TRUNCATING = threading.Lock()


def read_tokenizer(path: Path) -> Tokenizer:
    """The fast tokenizer of a checkpoint, without padding or truncation of its own."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises bare Exception
        raise CheckpointError(f"{path}: not a tokenizer.json: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def instruction(text: TextConfig, task: str | None) -> str:
    """What `task` puts before a text; ValueError names the known tasks."""
    known = {
        name: text.task_instructions[name]
        for name in text.lora_adaptations
        if name in text.task_instructions
    }
    if not known:
        if task is not None:
            warnings.warn(
                f"this model has no instructions; task={task!r} changes nothing", stacklevel=4
            )
        return ""
    task = task or text.default_instruction_task
    if task is None:
        return ""
    if task not in known:
        raise ValueError(f"task {task!r} is not known; this model has {', '.join(known)}")
    return known[task]


def tokenize(tokenizer: Tokenizer, texts: list[str], max_length: int) -> list[Ids]:
    """Token ids of each text with its special tokens, cut to max_length of them in all; on all cores.

    The tokenizer is left without truncation, as it was. ValueError when max_length leaves no room for text.
    """
    if max_length <= tokenizer.num_special_tokens_to_add(False):
        raise ValueError(
            f"max_length {max_length} leaves no room for text beside the special tokens"
        )
    with _TRUNCATING:  # a setting of the tokenizer, not of the call
        tokenizer.enable_truncation(max_length)
        try:
            return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
        finally:
            tokenizer.no_truncation()


def count_longer(tokenizer: Tokenizer, texts: list[str], max_length: int) -> int:
    """How many texts have more than max_length tokens, special ones included: those that `tokenize` would cut."""
    with _TRUNCATING:
        return sum(
            len(encoding.ids) > max_length for encoding in tokenizer.encode_batch_fast(texts)
        )


def token_batch(ids: Sequence[Ids], pad: int, device: torch.device) -> TokenIds:
    """Token ids padded on the right to the longest, for `get_text_features`."""
    batch = torch.full((len(ids), max(map(len, ids))), pad, dtype=torch.long, device="cpu")
    for row, tokens in zip(batch, ids, strict=True):
        row[: len(tokens)] = torch.as_tensor(tokens, dtype=torch.long, device="cpu")
    return batch.to(device)

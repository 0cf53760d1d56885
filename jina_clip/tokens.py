"""Texts to token ids with the checkpoint's own tokenizer.json."""

import threading
import warnings
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer

from jina_clip.official_json import CheckpointError
from jina_clip.packing import Ids
from jina_clip.shapes import TokenIds
from jina_clip.text_config import TextConfig

# Truncation is a setting of the tokenizer, and several threads may tokenize with one.
_TRUNCATING = threading.Lock()


def read_tokenizer(data: bytes, where: str) -> Tokenizer:
    """The fast tokenizer in a tokenizer.json, with its own padding and truncation switched off.

    CheckpointError, beginning with `where`, when it is none.
    """
    try:
        tokenizer = Tokenizer.from_buffer(data)
        # a template that names a token which the file lacks is noticed by no reading
        tokenizer.encode("a")
    except (KeyboardInterrupt, SystemExit):
        raise
    # the Rust library raises bare Exception, and where it panics not even that
    except BaseException as error:
        raise CheckpointError(f"{where}: not a tokenizer.json: {error}") from error
    # Some files ask for padding to 512, which would be encoded as if it were text.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def instruction(text: TextConfig, task: str | None) -> str:
    """What `task` puts before a text; ValueError names the tasks of the model."""
    prefixes = {
        name: text.task_instructions[name]
        for name in text.lora_adaptations
        if name in text.task_instructions
    }
    if not prefixes:
        if task is not None:
            warnings.warn(
                f"this model has no instructions; task={task!r} changes nothing", stacklevel=4
            )
        return ""
    task = task or text.default_instruction_task
    if task is None:
        return ""
    if task not in prefixes:
        raise ValueError(f"task {task!r} is not known; this model has {', '.join(prefixes)}")
    return prefixes[task]


def tokenize(tokenizer: Tokenizer, texts: list[str], max_length: int | None) -> list[Ids]:
    """Token ids of each text, cut to max_length of them, special ones included; on all cores.

    None cuts nothing. The tokenizer is left without truncation, as it was. ValueError when
    max_length leaves no room for text.
    """
    if max_length is not None and max_length <= tokenizer.num_special_tokens_to_add(False):
        raise ValueError(
            f"max_length {max_length} leaves no room for text beside the special tokens"
        )
    with _TRUNCATING:
        if max_length is not None:
            tokenizer.enable_truncation(max_length)
        try:
            return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
        finally:
            tokenizer.no_truncation()


def count_longer(tokenizer: Tokenizer, texts: list[str], max_length: int) -> int:
    """How many texts `tokenize` would cut to max_length tokens, special ones included."""
    return sum(len(ids) > max_length for ids in tokenize(tokenizer, texts, None))


def token_batch(ids: Sequence[Ids], pad: int, device: torch.device) -> TokenIds:
    """Token ids padded on the right to the longest, for `get_text_features`."""
    batch = torch.full((len(ids), max(map(len, ids))), pad, dtype=torch.long, device="cpu")
    for row, tokens in zip(batch, ids, strict=True):
        row[: len(tokens)] = torch.as_tensor(tokens, dtype=torch.long, device="cpu")
    return batch.to(device)

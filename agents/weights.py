"""Weights as two files: tensors in safetensors, everything else in a JSON card; nothing executed.

The card carries the checksum of the tensors, and each file is complete before it is moved into
place.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from sixgym.envs.core.errors import PolicyError


def pair(path: str | Path) -> tuple[Path, Path]:
    """Weights and card of a path with or without one of the two endings."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    return stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")


def packed(module: nn.Module) -> tuple[bytes, str]:
    """A module's tensors as the bytes of a file, and their SHA-256."""
    # A clone each: tensors that share memory are refused by the format.
    tensors = {k: v.detach().clone().contiguous() for k, v in module.state_dict().items()}
    data = save_tensors(tensors)
    return data, hashlib.sha256(data).hexdigest()


def write(path: str | Path, data: bytes, card: BaseModel) -> Path:
    """Write both files; the path of the weights."""
    weights, card_path = pair(path)
    weights.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(card.model_dump(mode="json"), indent=2) + "\n"
    for target, content in ((weights, data), (card_path, text.encode())):
        scratch = target.with_name(target.name + ".tmp")
        scratch.write_bytes(content)
        scratch.replace(target)
    return weights


def read(weights: Path, card_path: Path, sha256: str) -> bytes:
    """The bytes of the weights.

    Args:
        weights: their file.
        card_path: the card, for the message.
        sha256: the checksum that it has.

    Raises:
        PolicyError: the file is missing, truncated or altered.
    """
    if not weights.is_file():
        raise PolicyError(f"{weights}: no such file")
    data = weights.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise PolicyError(
            f"{weights}: {len(data)} bytes, truncated or altered: not the checksum "
            f"of {card_path.name}"
        )
    return data


def fill(module: nn.Module, data: bytes, where: Path) -> None:
    """Load tensors of exactly the expected names, shapes and kinds.

    Raises:
        PolicyError: they are others, or not finite.
    """
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise PolicyError(f"{where}: not a safetensors file: {error}") from None
    expected = module.state_dict()
    if expected.keys() != tensors.keys():
        odd = ", ".join(sorted(expected.keys() ^ tensors.keys()))
        raise PolicyError(f"{where}: missing or unknown tensors: {odd}")
    for name, like in expected.items():
        got = tensors[name]
        if got.shape != like.shape or got.dtype != like.dtype:
            raise PolicyError(
                f"{where}: {name} is {tuple(got.shape)} {got.dtype}; "
                f"allowed: {tuple(like.shape)} {like.dtype}"
            )
        if not bool(got.isfinite().all()):
            raise PolicyError(f"{where}: {name} is not finite")
    module.load_state_dict(tensors)

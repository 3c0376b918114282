"""Checkpoint files: tensors in safetensors, the rest in JSON, atomic to write, checked on reading.

``last.json`` (or ``best.json``) names its tensor file and that file's checksum, and carries one of
its own. The tensor file is complete on the disk before the JSON is moved into place, so that a
crash at any moment leaves the previous checkpoint or the new one, never half of each. No pickle
anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sixgym.envs.core.errors import CheckpointError

FORMAT = "sixgym checkpoint 1"


class Snapshot(NamedTuple):
    """A state of training as plain data."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]
    """JSON-able."""


def write(folder: Path, name: str, snapshot: Snapshot) -> Path:
    """Write or replace the checkpoint ``name`` of a folder.

    Returns:
        The path of its JSON file.

    Raises:
        CheckpointError: it cannot be written: the disk is full, the folder may not be written to.
            The previous checkpoint is still there then, and nothing of the new one.
    """
    target = folder / f"{name}.json"
    try:
        return _write(folder, name, snapshot, target)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):  # leave no half file on a full disk
            for scratch in folder.glob(f"{name}*.tmp"):
                scratch.unlink()
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{target}: cannot be written: {reason}") from error


def _write(folder: Path, name: str, snapshot: Snapshot, target: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    old = _tensor_files(folder, name)
    data = folder / f"{name}-{snapshot.values.get('num_timesteps', 0):012d}.safetensors"
    if data.exists():  # the same step again: never write over what a JSON refers to
        data = data.with_name(f"{data.stem}-{len(old)}.safetensors")
    scratch = data.with_suffix(".tmp")
    save_file(
        {k: v.detach().cpu().clone().contiguous() for k, v in snapshot.tensors.items()}, scratch
    )
    _sync(scratch)
    digest = _sha256(scratch)
    scratch.replace(data)
    content = {
        "format": FORMAT,
        "tensors": {"file": data.name, "bytes": data.stat().st_size, "sha256": digest},
        "values": snapshot.values,
    }
    text = json.dumps({"sha256": _own_digest(content), **content}, allow_nan=False, indent=1)
    scratch = target.with_suffix(".tmp")
    scratch.write_text(text + "\n", encoding="utf-8")
    _sync(scratch)
    scratch.replace(target)
    _sync(folder)
    for path in old:
        path.unlink(missing_ok=True)
    return target


def read(folder: Path, name: str) -> Snapshot:
    """Read the checkpoint ``name`` of a folder.

    Raises:
        CheckpointError: a file is missing, truncated, altered or not a checkpoint.
    """
    values, described = _read_json(folder / f"{name}.json")
    data = folder / str(described.get("file"))
    if data.parent != folder or not data.is_file():
        raise CheckpointError(f"{data}: no such file, named in {name}.json")
    size = data.stat().st_size
    if size != described.get("bytes"):
        wanted = described.get("bytes")
        raise CheckpointError(f"{data}: {size} bytes; allowed: {wanted}: truncated?")
    try:
        if _sha256(data) != described.get("sha256"):
            raise CheckpointError(f"{data}: altered: not the checksum in {name}.json")
        # Copied: a file's memory is not aligned as torch's, and vectorised sums round by that.
        return Snapshot({name: tensor.clone() for name, tensor in load_file(data).items()}, values)
    except SafetensorError as error:
        raise CheckpointError(f"{data}: not a safetensors file: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{data}: cannot be read: {error.strerror}") from None


def read_values(folder: Path, name: str) -> dict[str, Any]:
    """The JSON part of a checkpoint alone.

    Raises:
        CheckpointError: the file is missing, truncated, altered or not a checkpoint.
    """
    return _read_json(folder / f"{name}.json")[0]


def _read_json(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: truncated or not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint; allowed: format {FORMAT!r}")
    digest = content.pop("sha256", None)
    if digest != _own_digest(content):
        raise CheckpointError(f"{path}: altered: not its own checksum")
    values, tensors = content.get("values"), content.get("tensors")
    if not (isinstance(values, dict) and isinstance(tensors, dict)):
        raise CheckpointError(f"{path}: not a checkpoint: no values or no tensors in it")
    return values, tensors


def _own_digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _tensor_files(folder: Path, name: str) -> list[Path]:
    return sorted(p for p in folder.glob(f"{name}-*") if p.suffix in (".safetensors", ".tmp"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Have the system write a file or a folder to the disk now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""What a safetensors file says of its tensors, checked before any of them is read.

The format is eight bytes for the length of a JSON header, the header, and the numbers: each tensor
has a type, a shape, and the place of its bytes. [standard: safetensors, "Format"]
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import numpy as np

from sixgym.envs.core.errors import SubmissionError

HEADER_BYTES = 256 * 1024
"""Length of the header."""
MOST_TENSORS = 256
"""Tensors of a file."""
MOST_AXES = 4
"""Axes of a tensor."""
TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
"""Types of numbers: weights are float32, statistics of observations float64."""


def check_tensors(name: str, data: bytes) -> None:
    """Check the header against the length of the file, then that all numbers are finite.

    Args:
        name: of the file, for messages.
        data: its content.

    Raises:
        SubmissionError: it is anything else than a safetensors file of finite floats without gaps.
    """
    header, start = _header(name, data)
    header.pop("__metadata__", None)
    if not 0 < len(header) <= MOST_TENSORS:
        raise SubmissionError(f"{name}: {len(header)} tensors; allowed: 1 to {MOST_TENSORS}")
    places = sorted(_place(name, tensor, entry) for tensor, entry in header.items())
    end = 0
    for first, last, tensor, _ in places:
        if first != end:
            raise SubmissionError(
                f"{name}: {tensor} begins at byte {first}; allowed: {end}, without gap or overlap"
            )
        end = last
    if start + end != len(data):
        raise SubmissionError(
            f"{name}: {len(data)} bytes, the header says {start + end}: truncated or extended"
        )
    for first, last, tensor, kind in places:
        numbers = np.frombuffer(data[start + first : start + last], dtype=TYPES[kind])
        if not np.isfinite(numbers).all():
            raise SubmissionError(f"{name}: {tensor} is not finite")


def shapes(name: str, data: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each tensor, by the header of a file that `check_tensors` passed."""
    header, _ = _header(name, data)
    header.pop("__metadata__", None)
    return {k: (entry["dtype"], tuple(entry["shape"])) for k, entry in header.items()}


def _header(name: str, data: bytes) -> tuple[dict[str, Any], int]:
    """The header, and where the numbers begin."""
    length = int.from_bytes(data[:8], "little") if len(data) >= 8 else -1
    if not 2 <= length <= min(HEADER_BYTES, len(data) - 8):
        raise SubmissionError(
            f"{name}: not a safetensors file: a header of {length} bytes; "
            f"allowed: at most {HEADER_BYTES}, within the file"
        )
    try:
        header = json.loads(
            data[8 : 8 + length].decode("utf-8"),
            object_pairs_hook=lambda pairs: _unique(name, pairs),
            parse_constant=lambda constant: _refuse(name, constant),
        )
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, SubmissionError):
            raise
        raise SubmissionError(f"{name}: not a safetensors file: its header is no JSON") from None
    if not isinstance(header, dict):
        raise SubmissionError(f"{name}: not a safetensors file: its header is no object")
    return header, 8 + length


def _unique(name: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise SubmissionError(f"{name}: a tensor stands twice in the header")
    return found


def _refuse(name: str, constant: str) -> NoReturn:
    raise SubmissionError(f"{name}: {constant} in the header")


def _place(name: str, tensor: str, entry: Any) -> tuple[int, int, str, str]:
    """First and last byte of a tensor, its name and its type."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise SubmissionError(f"{name}: {tensor}: allowed: dtype, shape and data_offsets")
    kind, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in TYPES:
        raise SubmissionError(f"{name}: {tensor} is {kind!r}; allowed: {', '.join(TYPES)}")
    if not (_are_sizes(shape) and len(shape) <= MOST_AXES):
        raise SubmissionError(f"{name}: {tensor} has the shape {str(shape)[:60]}")
    if not (_are_sizes(place) and len(place) == 2):
        raise SubmissionError(f"{name}: {tensor} lies at {str(place)[:60]}")
    first, last = place
    size = math.prod(shape) * TYPES[kind].itemsize
    if last - first != size:
        raise SubmissionError(
            f"{name}: {tensor} of shape {shape} has {last - first} bytes; allowed: {size}"
        )
    return first, last, tensor, kind


def _are_sizes(value: object) -> bool:
    """Whether a value is a list of integers that may be sizes."""
    return isinstance(value, list) and all(
        isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 2**40 for v in value
    )

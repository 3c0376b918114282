"""Network traces: a file or arrays of bandwidth and round-trip time, one row a slot.

A ``.csv`` file has a header line that names the columns ``bandwidth_mbps`` (Mbit/s) and ``rtt_s``
(s), in any order and among others; an ``.npz`` file has arrays of these names. In memory the same
goes into the parameters ``trace_bandwidth_mbps`` and ``trace_rtt_s``; `save_trace` writes a file.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sixgym.envs.backend.trace_formats import (
    TraceError,
    csv_columns,
    csv_header,
    csv_text,
    npz_arrays,
)
from sixgym.envs.core.errors import ParamsError
from sixgym.envs.netgpt.params import NetGptBaseParams

COLUMNS: dict[str, tuple[float, float]] = {"bandwidth_mbps": (0.01, 1e5), "rtt_s": (0.0, 10.0)}
"""The columns of a trace and what is allowed in them."""
MOST_ROWS = 1_000_000
"""Longest trace."""


class Trace(NamedTuple):
    """A validated trace; read-only."""

    bandwidth_mbps: NDArray[np.float64]
    """(slots,) Mbit/s."""
    rtt_s: NDArray[np.float64]
    """(slots,) s."""


def load_trace(params: NetGptBaseParams) -> Trace:
    """The trace of ``network="trace"``.

    Raises:
        ParamsError: the file does not exist or is not of the format, or the arrays do not fit.
    """
    if params.trace is not None:
        return read_trace(params.trace)
    arrays = {"bandwidth_mbps": params.trace_bandwidth_mbps, "rtt_s": params.trace_rtt_s}
    return _checked(
        {f"trace_{name}": np.asarray(value) for name, value in arrays.items()}, "network='trace'"
    )


def read_trace(path: str) -> Trace:
    """A trace file; the same object while the file is unchanged.

    Raises:
        ParamsError: there is no such file, or it breaks the format; the message names the place.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        what = "is a folder" if place.is_dir() else "does not exist"
        raise ParamsError(f"trace={path!r}: {what}; allowed: the path of a .csv or .npz file")
    status = place.stat()
    return _read_cached(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=16)
def _read_cached(path: str, _modified: int, _size: int) -> Trace:
    where = f"trace={path!r}"
    try:
        raw = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ParamsError(f"{where}: cannot be read: {error.strerror}") from None
    suffix = Path(path).suffix.lower()
    if suffix == ".csv":
        return _checked(_csv_arrays(raw, where), where)
    if suffix == ".npz":
        return _checked(_npz_arrays(raw, where), where)
    raise ParamsError(f"{where}: {suffix or 'no ending'}; allowed: .csv, .npz")


def save_trace(path: str | Path, bandwidth_mbps: ArrayLike, rtt_s: ArrayLike) -> str:
    """Write arrays as a trace file, for ``trace=``.

    Args:
        path: ending in .npz.
        bandwidth_mbps: (slots,) Mbit/s.
        rtt_s: (slots,) s.

    Returns:
        The path.

    Raises:
        ParamsError: the ending is another, or the arrays would not be accepted.
    """
    place = Path(path).expanduser()
    if place.suffix.lower() != ".npz":
        raise ParamsError(f"path={str(path)!r}: allowed: ending in .npz")
    arrays = {"bandwidth_mbps": np.asarray(bandwidth_mbps), "rtt_s": np.asarray(rtt_s)}
    trace = _checked(arrays, f"path={str(path)!r}")
    np.savez_compressed(place, bandwidth_mbps=trace.bandwidth_mbps, rtt_s=trace.rtt_s)
    return str(path)


def _csv_arrays(raw: bytes, where: str) -> dict[str, NDArray[np.float64]]:
    try:
        text = csv_text(raw)
        header = csv_header(text)
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise ParamsError(
                f"{where}: line 1 has no column {', '.join(missing)} (it has {header}); "
                f"required: {', '.join(COLUMNS)}"
            )
        return csv_columns(text, {name: header.index(name) for name in COLUMNS})
    except TraceError as error:
        raise ParamsError(f"{where}: {error}") from None


def _npz_arrays(raw: bytes, where: str) -> dict[str, NDArray[Any]]:
    try:
        arrays = npz_arrays(raw)
    except TraceError as error:
        raise ParamsError(f"{where}: not an .npz archive of plain arrays ({error})") from None
    missing = [name for name in COLUMNS if name not in arrays]
    if missing:
        have = ", ".join(sorted(arrays)) or "nothing"
        raise ParamsError(
            f"{where}: array {', '.join(missing)} is missing (the file holds {have}); "
            f"required: {', '.join(COLUMNS)}"
        )
    return {name: arrays[name] for name in COLUMNS}


def _checked(arrays: dict[str, NDArray[Any]], where: str) -> Trace:
    """The trace in two arrays, whose names stand for the columns in order."""
    columns: list[NDArray[np.float64]] = []
    for (name, array), (low, high) in zip(arrays.items(), COLUMNS.values(), strict=True):
        if array.ndim != 1 or not 1 <= array.size <= MOST_ROWS:
            raise ParamsError(
                f"{where}: {name} has shape {array.shape}; allowed: (slots,), "
                f"1 to {MOST_ROWS} of them"
            )
        if array.dtype.kind not in "iuf":
            raise ParamsError(f"{where}: {name} has type {array.dtype}; allowed: numbers")
        column = np.array(array, np.float64)
        wrong = ~((column >= low) & (column <= high))
        if wrong.any():
            row = int(wrong.argmax())
            raise ParamsError(
                f"{where}: {name} is {column[row]:g} at row {row}; allowed: {low:g} to {high:g}"
            )
        column.flags.writeable = False  # traces are shared
        columns.append(column)
    if columns[0].size != columns[1].size:
        sizes = ", ".join(f"{name} {array.size}" for name, array in arrays.items())
        raise ParamsError(f"{where}: {sizes} rows; allowed: as many of each")
    return Trace(*columns)

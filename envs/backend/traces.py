"""Recorded series in files: CSV, Parquet and NumPy's npz, every column with its unit.

One row is one slot, one column one series. Where a column's unit is written, first found first:

- in the name: ``gain [dB]`` (all formats);
- in the file: Parquet's field metadata ``unit``, or ``units`` in the schema's metadata or as an
  array of an ``.npz``, a JSON object of column and unit;
- beside the file: ``trace.csv.units.yaml``, lines of ``column: unit``.

Numbers come out in SI units. Nothing in a file is executed or unpickled, sizes are checked before
anything is expanded, and every fault is a `TraceError` of one line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from sixgym.envs.backend.trace_formats import (
    FORMATS,
    MOST_BYTES,
    MOST_VALUES,
    Array,
    Format,
    TraceError,
    first_line,
    named_units,
)
from sixgym.envs.backend.units import UNITS, to_si, units_of

MOST_SIDECAR_BYTES = 2**18
SIDECAR = ".units.yaml"
"""Added to the file's name."""


_LET_THROUGH = (ValueError, LookupError, AttributeError, TypeError, RecursionError)
"""What PyYAML raises of ``!!int`` of nothing, thousands of digits, a date that is none."""


class Column(NamedTuple):
    """A series that somebody wants."""

    name: str
    quantity: str = "ratio"
    """Which units may be declared, see `sixgym.envs.backend.units.UNITS`."""
    low: float = -np.inf
    """Least value allowed, SI units."""
    high: float = np.inf
    """Largest value allowed, SI units."""
    decibels: bool = True
    """Whether decibels may be declared; not for amplitudes, which have a sign."""


class TraceFile:
    """A trace file that was opened: what columns it has, and their numbers when asked for.

    Args:
        path: as the user gave it.
        raw: the file's content.
        sidecar: what stands beside it on units, or None.

    Raises:
        TraceError: the ending is unknown, the file is damaged, or its units are no names.
    """

    def __init__(self, path: str, raw: bytes, sidecar: bytes | None = None) -> None:
        self.path = path
        self.digest = _digest(raw, sidecar)
        """SHA-256 of the content and of the units beside it, in hexadecimal."""
        suffix = Path(path).suffix.lower()
        if suffix not in FORMATS:
            allowed = ", ".join(FORMATS)
            raise TraceError(f"{path}: ends in {suffix or 'nothing'}; allowed: {allowed}")
        try:
            self._format: Format = FORMATS[suffix](raw)
            beside = {} if sidecar is None else _yaml_units(sidecar)
        except TraceError as error:
            raise TraceError(f"{path}: {error}") from None
        self.units = {**beside, **self._format.units}
        """Declared units by column."""
        self._taken: dict[tuple[Column, ...], NDArray[np.float64]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, without their units."""
        return tuple(self._format.columns)

    def take(self, columns: Sequence[Column]) -> NDArray[np.float64]:
        """Series side by side, checked.

        Args:
            columns: what is wanted.

        Returns:
            (slots, columns) in SI units, read-only.

        Raises:
            TraceError: a column is missing, has no unit or one of another quantity, or a value is
                no finite number or not allowed.
        """
        wanted = tuple(columns)
        if wanted not in self._taken:
            try:
                self._taken[wanted] = self._checked(wanted)
            except TraceError as error:
                raise TraceError(f"{self.path}: {error}") from None
        return self._taken[wanted]

    def _checked(self, wanted: tuple[Column, ...]) -> NDArray[np.float64]:
        for column in wanted:
            self._check_unit(column)
        arrays = self._format.load([column.name for column in wanted])
        rows = {array.shape[0] if array.ndim == 1 else -1 for array in arrays}
        if len(rows) != 1 or min(rows) < 1:
            shapes = ", ".join(
                f"{c.name} {a.shape}" for c, a in list(zip(wanted, arrays, strict=True))[:8]
            )
            raise TraceError(f"shapes {shapes}; allowed: (slots,) of each, at least one slot")
        if len(wanted) * min(rows) > MOST_VALUES:
            raise TraceError(
                f"{len(wanted)} columns of {min(rows)} rows; allowed: at most {MOST_VALUES} values"
            )
        series = [self._series(c, a) for c, a in zip(wanted, arrays, strict=True)]
        table = np.stack(series, 1)
        table.flags.writeable = False  # shared by all who take the same
        return table

    def _check_unit(self, column: Column) -> None:
        name = column.name
        if name not in self._format.columns:
            have = ", ".join(list(self.names)[:20]) or "none"
            raise TraceError(f"column {name!r} is missing; the columns are: {have}")
        allowed = ", ".join(units_of(column.quantity, decibels=column.decibels))
        unit = self.units.get(name)
        if unit is None:
            raise TraceError(
                f"column {name!r} declares no unit; allowed: {allowed}, as in "
                f"'{name} [{allowed.split(', ', maxsplit=1)[0]}]'"
            )
        if unit not in units_of(column.quantity, decibels=column.decibels):
            why = "another quantity" if unit in UNITS else "unknown"
            raise TraceError(f"column {name!r} has unit {unit!r}: {why}; allowed: {allowed}")

    def _series(self, column: Column, array: Array) -> NDArray[np.float64]:
        name, unit = column.name, self.units[column.name]
        if array.dtype.kind not in "iuf":
            raise TraceError(f"column {name!r} has type {array.dtype}; allowed: numbers")
        raw = np.asarray(array, np.float64)
        values = to_si(raw, unit)
        # Minus infinity in decibels would be a finite 0.
        finite = np.isfinite(raw) & np.isfinite(values)
        wrong = ~(finite & (values >= column.low) & (values <= column.high))
        if wrong.any():
            row = int(wrong.argmax())
            bounds = _range(column.low, column.high)
            raise TraceError(
                f"column {name!r} is {raw[row]:g} {unit} at row {row} (the first is 0); "
                f"allowed: finite{bounds}"
            )
        return values


def open_trace(path: str) -> TraceFile:
    """A trace file; the same object while the file is unchanged.

    Raises:
        TraceError: there is no such file, it is too large, or `TraceFile` refuses it.
    """
    return _opened(path, *_stamps(path))


def digest_of(path: str) -> str:
    """SHA-256 of a file (and of the units beside it) without looking at what is in it.

    Raises:
        TraceError: there is no such file, or it is too large.
    """
    return _digested(path, *_stamps(path))


@lru_cache(maxsize=2)
def _opened(path: str, *_stamps: int) -> TraceFile:
    return TraceFile(path, *_contents(path))


@lru_cache(maxsize=64)
def _digested(path: str, *_stamps: int) -> str:
    return _digest(*_contents(path))


def _digest(raw: bytes, sidecar: bytes | None) -> str:
    beside = b"" if sidecar is None else b"\0units\0" + hashlib.sha256(sidecar).digest()
    return hashlib.sha256(raw + beside if beside else raw).hexdigest()


def _stamps(path: str) -> tuple[int, int, int, int]:
    """What changes when the file or its sidecar is rewritten."""
    place = Path(path).expanduser()
    try:
        if not place.is_file():
            what = "is a folder" if place.is_dir() else "does not exist"
            raise TraceError(f"{path}: {what}; allowed: the path of a file")
        status, beside = place.stat(), _sidecar(place)
        other = beside.stat() if beside.is_file() else None
    except (OSError, ValueError) as error:
        if isinstance(error, TraceError):
            raise
        raise TraceError(f"{path}: {first_line(error)}; allowed: the path of a file") from None
    if status.st_size > MOST_BYTES:
        raise TraceError(f"{path}: {status.st_size} bytes; allowed: at most {MOST_BYTES}")
    if other is None:
        return status.st_mtime_ns, status.st_size, 0, 0
    if other.st_size > MOST_SIDECAR_BYTES:
        raise TraceError(f"{beside}: {other.st_size} bytes; allowed: at most {MOST_SIDECAR_BYTES}")
    return status.st_mtime_ns, status.st_size, other.st_mtime_ns, other.st_size


def _contents(path: str) -> tuple[bytes, bytes | None]:
    place = Path(path).expanduser()
    beside = _sidecar(place)
    try:
        return place.read_bytes(), beside.read_bytes() if beside.is_file() else None
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from None


def _sidecar(place: Path) -> Path:
    return place.with_name(place.name + SIDECAR)


# ------------------------------------------------------------------------------- units in words


def _yaml_units(raw: bytes) -> dict[str, str]:
    try:
        found = yaml.safe_load(raw)
    except (yaml.YAMLError, *_LET_THROUGH) as error:
        raise TraceError(f"{SIDECAR} beside it is not YAML ({first_line(error)})") from None
    return named_units(found, f"{SIDECAR} beside it")


def _range(low: float, high: float) -> str:
    parts = [
        f" {sign} {limit:g}" for sign, limit in ((">=", low), ("<=", high)) if abs(limit) < np.inf
    ]
    return f" and{' and'.join(parts)} in SI units" if parts else ""

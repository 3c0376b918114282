"""What trace files look like inside: CSV, npz and Parquet, their columns and declared units.

`sixgym.envs.backend.traces` reads through these; readers of other formats use the parts. Nothing is
executed or unpickled, and sizes are checked before anything is expanded.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.backend.printing import printable

MOST_BYTES = 2**30
"""Largest file, and most that an archive may expand to."""
MOST_VALUES = 100_000_000
"""Most numbers that are taken from one file."""
MOST_COLUMNS = 4096

_NAME = re.compile(r"\s*([^\[\]]*?)\s*(?:\[([^\[\]]*)\]\s*)?")

Array = NDArray[Any]


class TraceError(ValueError):
    """A file that is not what it should be.

    Args:
        message: it becomes one line of printable characters; names in a file may be anything.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Format(ABC):
    """A file's content: the names of its columns, and their numbers when asked for."""

    columns: dict[str, str]
    """As they are written, by name without the unit."""
    units: dict[str, str]
    """Those that are declared in the file."""

    @abstractmethod
    def load(self, names: Sequence[str]) -> list[Array]:
        """The arrays of some columns, by name without the unit."""

    def _set_columns(self, written: Sequence[str], declared: Mapping[str, str]) -> None:
        if len(written) > MOST_COLUMNS:
            raise TraceError(f"{len(written)} columns; allowed: at most {MOST_COLUMNS}")
        self.columns, self.units = {}, dict(declared)
        for text in written:
            match = _NAME.fullmatch(text)
            name, unit = (match[1], match[2]) if match else (text, None)
            if name in self.columns:
                raise TraceError(f"column {name!r} is there twice; allowed: one of each name")
            self.columns[name] = text
            if unit is not None:
                self.units[name] = unit.strip()


class _Csv(Format):
    def __init__(self, raw: bytes) -> None:
        self._text = csv_text(raw)
        self._header = csv_header(self._text)
        self._set_columns(self._header, {})

    def load(self, names: Sequence[str]) -> list[Array]:
        places = {name: self._header.index(self.columns[name]) for name in names}
        return list(csv_columns(self._text, places).values())


class _Npz(Format):
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        written = [name for name in npz_names(raw) if name != "units"]
        declared: dict[str, str] = {}
        if len(written) < len(npz_names(raw)):
            array = npz_arrays(raw, ["units"])["units"]
            if array.ndim != 0 or array.dtype.kind not in "US":
                raise TraceError(
                    f"array 'units' has shape {array.shape} and type {array.dtype}; "
                    "allowed: one string, a JSON object"
                )
            text = array.item()
            declared = _json_units(text if isinstance(text, str) else text.decode("latin-1"))
        self._set_columns(written, declared)

    def load(self, names: Sequence[str]) -> list[Array]:
        arrays = npz_arrays(self._raw, [self.columns[name] for name in names])
        return list(arrays.values())


class _Parquet(Format):
    def __init__(self, raw: bytes) -> None:
        try:
            parquet: Any = importlib.import_module("pyarrow.parquet")
        except ImportError:
            raise TraceError(
                "Parquet needs pyarrow, which is not installed: pip install 'sixgym[traces]'"
            ) from None
        try:
            self._file = parquet.ParquetFile(io.BytesIO(raw))
            schema, meta = self._file.schema_arrow, self._file.metadata
            groups = [meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)]
            size, rows = sum(groups), meta.num_rows
            declared = {
                _NAME.sub(r"\1", field.name): field.metadata[b"unit"].decode()
                for field in schema
                if field.metadata and b"unit" in field.metadata
            }
            common = (schema.metadata or {}).get(b"units", b"{}").decode()
            written = list(schema.names)
        except Exception as error:
            # Whatever is raised: damage surfaces as errors of pyarrow and of text codecs.
            raise TraceError(f"damaged Parquet file ({first_line(error)})") from None
        if size > MOST_BYTES or rows > MOST_VALUES:
            raise TraceError(
                f"{size} bytes in {rows} rows; allowed: at most {MOST_BYTES} bytes and "
                f"{MOST_VALUES} rows"
            )
        self._set_columns(written, {**_json_units(common), **declared})

    def load(self, names: Sequence[str]) -> list[Array]:
        written = [self.columns[name] for name in names]
        try:
            table = self._file.read(columns=written)
            return [table[text].to_numpy() for text in written]
        except Exception as error:
            raise TraceError(f"damaged Parquet file ({first_line(error)})") from None


FORMATS: dict[str, type[_Csv] | type[_Npz] | type[_Parquet]] = {
    ".csv": _Csv,
    ".npz": _Npz,
    ".parquet": _Parquet,
}
"""Formats by the ending of the file's name."""


def _json_units(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"'units' is not JSON ({first_line(error)})") from None
    return named_units(found, "'units'")


def named_units(found: Any, where: str) -> dict[str, str]:
    """Units by column, of what JSON or YAML holds.

    Args:
        found: the parsed text.
        where: how a message names it.

    Raises:
        TraceError: it is no mapping of names.
    """
    if not isinstance(found, dict):
        raise TraceError(f"{where} is no mapping; allowed: column names and their units")
    if not all(isinstance(k, str) and _is_unit(v) for k, v in found.items()):
        raise TraceError(f"{where} holds more than names; allowed: column names and their units")
    return {k: str(v) for k, v in found.items()}  # YAML reads the unit 1 as a number


def _is_unit(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < 10**9)


# -------------------------------------------------------------------------- formats, in their parts


def csv_text(raw: bytes) -> str:
    """The text of a CSV file, UTF-8 with or without a mark.

    Raises:
        TraceError: the bytes are no text.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TraceError(f"not a text of comma-separated values ({error})") from None


def csv_header(text: str) -> list[str]:
    """The names in the first line, without spaces around them.

    Raises:
        TraceError: the line cannot be taken apart.
    """
    try:
        line: list[str] = next(csv.reader(io.StringIO(text)), [])
    except csv.Error as error:
        raise TraceError(f"not a text of comma-separated values ({error})") from None
    return [name.strip() for name in line]


def csv_columns(text: str, places: Mapping[str, int]) -> dict[str, NDArray[np.float64]]:
    """Numbers of some columns below the first line; empty lines are passed over.

    Args:
        text: the whole file.
        places: name of each column, for messages, and its place in a line.

    Raises:
        TraceError: a field is missing or no number; the message names line and column.
    """
    stream = io.StringIO(text)
    next(csv.reader(stream), None)
    body = stream.read()
    if not body.strip():
        return {name: np.zeros(0) for name in places}
    try:
        table = np.loadtxt(
            io.StringIO(body), delimiter=",", usecols=list(places.values()), ndmin=2, comments=None
        )
        return dict(zip(places, table.T, strict=True))
    except (ValueError, IndexError, OverflowError):
        return _csv_line_by_line(text, places)  # slower, but it knows quotes, and the place


def _csv_line_by_line(text: str, places: Mapping[str, int]) -> dict[str, NDArray[np.float64]]:
    values: dict[str, list[float]] = {name: [] for name in places}
    reader = csv.reader(io.StringIO(text))
    try:
        next(reader, None)
        for line in reader:
            if not line:
                continue
            for name, column in places.items():
                word = line[column] if column < len(line) else ""
                try:
                    values[name].append(float(word))
                except ValueError:
                    raise TraceError(
                        f"line {reader.line_num}, column {name}: {word[:40]!r}; allowed: a number"
                    ) from None
    except csv.Error as error:
        raise TraceError(f"not a text of comma-separated values ({error})") from None
    return {name: np.array(column) for name, column in values.items()}


def npz_names(raw: bytes) -> list[str]:
    """Names of the arrays in the bytes of an ``.npz`` file.

    Raises:
        TraceError: it is no such archive, or would expand to more than ``MOST_BYTES``.
    """
    if not raw.startswith(b"PK"):
        raise TraceError("not an .npz archive; allowed: what numpy.savez writes")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = archive.infolist()
    except Exception as error:
        # Whatever is raised: damage surfaces as errors of zipfile, zlib and text codecs.
        raise TraceError(f"damaged .npz archive ({first_line(error)})") from None
    size = sum(member.file_size for member in members)
    if size > MOST_BYTES:
        raise TraceError(f"an .npz archive of {size} bytes; allowed: at most {MOST_BYTES}")
    return [member.filename.removesuffix(".npy") for member in members]


def npz_arrays(raw: bytes, names: Sequence[str] | None = None) -> dict[str, Array]:
    """Arrays in the bytes of an ``.npz`` file, none of them unpickled.

    Args:
        raw: the file's content.
        names: which arrays, in this order; None is all.

    Raises:
        TraceError: it is no such archive, it is damaged or too large, or holds pickled objects.
    """
    wanted = npz_names(raw) if names is None else names
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            return {name: _npz_array(archive, name) for name in wanted}
    except TraceError:
        raise
    except Exception as error:
        # Whatever is raised: damage surfaces as errors of zipfile, zlib, tokenize and numpy.
        raise TraceError(f"damaged .npz archive ({first_line(error)})") from None


def _npz_array(archive: Any, name: str) -> Array:
    try:
        return np.asarray(archive[name])
    except ValueError as error:
        if "pickle" in str(error).lower() or "object" in str(error).lower():
            raise TraceError(
                f"array {name!r} holds pickled objects; allowed: plain numbers or text"
            ) from None
        raise TraceError(f"array {name!r} cannot be read ({first_line(error)})") from None


def first_line(error: Exception) -> str:
    """What an error of another library says, cut to one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]

"""Reading trace files: the shipped ones by name and checksum, a user's own with every fault named.

`sixgym.envs.event_offload.scores.load_pool` documents the format.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.backend.trace_formats import TraceError, npz_arrays
from sixgym.envs.core.errors import ParamsError
from sixgym.envs.event_offload.scores import EventPool

FOLDER = Path(__file__).parent / "traces"

SHIPPED: dict[str, str] = {
    "digits38": "709d4600278e994728f01d87a98a435ae109441d20711adc41c51e33f593d427",
    "digits89": "fa37ecb7b56471c2839c273c1310df46203c77a06b0700812ff18068fcb88500",
    "breast_cancer": "cbfd83a409c9d675753cf43fbc68896db9ce5bbdde9b60120d2b79496044b893",
}
"""SHA-256 of the shipped files."""

REQUIRED = ("conf", "server", "y")
CLIP = np.float32(1e-6)
PROBABILITY_TOLERANCE = 1e-3
"""How far a row of ``server`` may be from a sum of 1 (room for float16 sources)."""
LARGEST_CLASS = 126

Array = NDArray[Any]


def shipped_traces(name: str) -> EventPool:
    """One of the traces in ``SHIPPED``.

    Raises:
        ParamsError: the installed file is missing or is not the one that was shipped.
    """
    path = FOLDER / f"{name}.npz"
    raw = _read(path, f"scores={name!r}")
    if hashlib.sha256(raw).hexdigest() != SHIPPED[name]:
        raise ParamsError(
            f"scores={name!r}: {path} is not the shipped file (its SHA-256 differs); "
            "reinstall sixgym, or pass the file as traces=PATH if it is meant"
        )
    return parse_traces(raw, f"scores={name!r}: {path.name}")


def read_traces(path: str, mac_profile: str) -> EventPool:
    """A user's trace file with the MACs of a profile; the same object while the file is unchanged.

    Raises:
        ParamsError: the file does not exist or is not of the format, or the profile does not fit.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        what = "is a folder" if place.is_dir() else "does not exist"
        raise ParamsError(f"traces={path!r}: {what}; allowed: the path of an .npz file")
    status = place.stat()
    # Keyed by what changes when a file is rewritten, so that tables can be cached by the pool.
    return _read_cached(path, mac_profile, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=16)
def _read_cached(path: str, mac_profile: str, _modified: int, _size: int) -> EventPool:
    where = f"traces={path!r}"
    return parse_traces(_read(Path(path).expanduser(), where), where).with_profile(mac_profile)


def _read(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ParamsError(f"{where}: cannot read {path}: {error.strerror}") from None


def parse_traces(raw: bytes, where: str) -> EventPool:
    """The pool in the bytes of an ``.npz`` file.

    Args:
        raw: the file's content.
        where: how messages name it.

    Raises:
        ParamsError: an array is missing or breaks the format; the message names it and the fault.
    """
    arrays = _arrays(raw, where)
    for name in REQUIRED:
        if name not in arrays:
            have = ", ".join(sorted(arrays)) or "nothing"
            raise ParamsError(
                f"{where}: array {name!r} is missing (the file holds {have}); "
                f"required: {', '.join(REQUIRED)}"
            )
    conf = _conf(arrays["conf"], where)
    events, exits = conf.shape
    server = _server(arrays["server"], events, where)
    y = _labels(arrays["y"], events, server.shape[1] - 1, where)
    split = _split(arrays.get("split"), y, where)
    macs = _macs(arrays.get("macs"), exits, where)
    for array in (conf, server, y, split):
        array.flags.writeable = False  # pools are shared
    return EventPool(conf, server, y, split, macs, _meta(arrays.get("meta"), where))


def _arrays(raw: bytes, where: str) -> dict[str, Array]:
    try:
        return npz_arrays(raw)
    except TraceError as error:
        raise ParamsError(f"{where}: {error}") from None


def _conf(array: Array, where: str) -> NDArray[np.float32]:
    if array.ndim != 2 or 0 in array.shape:
        raise ParamsError(
            f"{where}: array 'conf' has shape {array.shape}; allowed: (events, exits), not empty"
        )
    _floats(array, "conf", where)
    outside = (array <= 0) | (array >= 1)
    if outside.any():
        event, column = (int(i) for i in np.argwhere(outside)[0])
        raise ParamsError(
            f"{where}: array 'conf' is {float(array[event, column]):g} at event {event}, "
            f"exit {column + 1}; allowed: strictly between 0 and 1"
        )
    # A float64 score next to 0 or 1 would round onto it.
    return np.clip(np.ascontiguousarray(array, np.float32), CLIP, 1 - CLIP)


def _server(array: Array, events: int, where: str) -> NDArray[np.float32]:
    if array.ndim != 2 or array.shape[0] != events or not 2 <= array.shape[1] <= LARGEST_CLASS + 1:
        raise ParamsError(
            f"{where}: array 'server' has shape {array.shape}; allowed: ({events}, K+1) "
            f"with K from 1 to {LARGEST_CLASS}"
        )
    _floats(array, "server", where)
    total = array.astype(np.float64).sum(1)
    wrong = (array < 0).any(1) | (abs(total - 1) > PROBABILITY_TOLERANCE)
    if wrong.any():
        event = int(wrong.argmax())
        raise ParamsError(
            f"{where}: array 'server' is {array[event].tolist()} at event {event}; "
            "allowed: probabilities that sum to 1"
        )
    return np.ascontiguousarray(array, np.float32)


def _labels(array: Array, events: int, classes: int, where: str) -> NDArray[np.int8]:
    _integers(array, "y", events, where)
    if array.min() < 0 or array.max() > classes:
        value = int(array.min() if array.min() < 0 else array.max())
        raise ParamsError(
            f"{where}: array 'y' holds {value}; allowed: 0 (head) to {classes} "
            f"(the {classes + 1} columns of 'server' say so)"
        )
    y = np.ascontiguousarray(array, np.int8)
    if (y == 0).all() or (y > 0).all():
        missing = "tail (y >= 1)" if (y == 0).all() else "head (y = 0)"
        raise ParamsError(f"{where}: array 'y' has no {missing} event; both kinds are needed")
    return y


def _split(array: Array | None, y: NDArray[np.int8], where: str) -> NDArray[np.int8]:
    if array is None:
        split = np.zeros(len(y), np.int8)
        for group in (y == 0, y > 0):
            split[group] = np.arange(int(group.sum())) % 2
    else:
        _integers(array, "split", len(y), where)
        if not np.isin(array, (0, 1)).all():
            value = int(array[~np.isin(array, (0, 1))][0])
            raise ParamsError(
                f"{where}: array 'split' holds {value}; allowed: 0 (calibration) and 1 (test)"
            )
        split = np.ascontiguousarray(array, np.int8)
    for part, name in ((0, "calibration"), (1, "test")):
        for group, kind in ((y == 0, "head"), (y > 0, "tail")):
            if not (group & (split == part)).any():
                raise ParamsError(
                    f"{where}: array 'split' leaves the {name} part (split = {part}) without a "
                    f"{kind} event; each part needs both kinds"
                )
    return split


def _macs(array: Array | None, exits: int, where: str) -> NDArray[np.float64]:
    if array is None:
        # Exits of equal cost: a shape for profiles to replace.
        return np.arange(1, exits + 1, dtype=np.float64)
    if array.shape != (exits,):
        raise ParamsError(f"{where}: array 'macs' has shape {array.shape}; allowed: ({exits},)")
    if array.dtype.kind not in "iuf":
        raise ParamsError(f"{where}: array 'macs' has type {array.dtype}; allowed: numbers")
    macs = np.ascontiguousarray(array, np.float64)
    if not np.isfinite(macs).all() or macs[0] <= 0 or (np.diff(macs) < 0).any():
        raise ParamsError(
            f"{where}: array 'macs' is {macs.tolist()}; allowed: positive, finite, not decreasing"
        )
    return macs


def _meta(array: Array | None, where: str) -> dict[str, Any]:
    if array is None:
        return {}
    if array.ndim != 0 or array.dtype.kind != "U":
        raise ParamsError(f"{where}: array 'meta' is not a text of zero dimensions; allowed: JSON")
    try:
        meta = json.loads(str(array))
    except (ValueError, RecursionError):
        raise ParamsError(f"{where}: array 'meta' is not JSON; allowed: a JSON object") from None
    if not isinstance(meta, dict):
        raise ParamsError(f"{where}: array 'meta' is not a JSON object")
    return meta


def _floats(array: Array, name: str, where: str) -> None:
    if array.dtype.kind != "f":
        raise ParamsError(f"{where}: array {name!r} has type {array.dtype}; allowed: float")
    finite = np.isfinite(array)
    if not finite.all():
        event = int(np.argwhere(~finite)[0][0])
        raise ParamsError(f"{where}: array {name!r} is not finite at event {event}")


def _integers(array: Array, name: str, events: int, where: str) -> None:
    if array.shape != (events,):
        raise ParamsError(f"{where}: array {name!r} has shape {array.shape}; allowed: ({events},)")
    if array.dtype.kind not in "iu":
        raise ParamsError(f"{where}: array {name!r} has type {array.dtype}; allowed: integer")

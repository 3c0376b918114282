"""Reads an offline run of Weights & Biases: a LevelDB log of protocol-buffer records."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

HEADER = 7
"""Bytes of the file's own header (identifier, magic, version) and of each fragment's."""
BLOCK = 32768
"""A fragment never crosses a multiple of this (LevelDB log format)."""
FULL, LAST = 1, 4
"""Kinds of fragment that end a record."""


def records(path: Path) -> Iterator[Record]:
    """The records of a ``run-<id>.wandb`` file in order."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    at, parts = HEADER, list[bytes]()
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:  # the end of a block is padded
            at += left
            continue
        _checksum, size, kind = struct.unpack_from("<IHB", data, at)
        parts.append(data[at + HEADER : at + HEADER + size])
        at += HEADER + size
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(b"".join(parts))
            parts.clear()
            yield record


def history(path: Path) -> list[dict[str, str]]:
    """Logged values by key, a dictionary of JSON texts for each step."""
    return [
        {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        for record in records(path)
        if record.WhichOneof("record_type") == "history"
    ]


def config(path: Path) -> dict[str, str]:
    """The configuration of the run by key, JSON texts."""
    found: dict[str, str] = {}
    for record in records(path):
        updates = record.run.config.update if record.HasField("run") else record.config.update
        found |= {u.key or "/".join(u.nested_key): u.value_json for u in updates}
    return found

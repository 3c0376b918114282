"""What a training writes beside its checkpoints: tables, TensorBoard events, the run's record."""

from __future__ import annotations

import csv
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from torch.utils.tensorboard.writer import SummaryWriter

from sixgym.envs.core.errors import CheckpointError

RECORDED = (
    "sixgym",
    "torch",
    "numpy",
    "gymnasium",
    "stable-baselines3",
    "sb3-contrib",
    "safetensors",
)
"""Distributions whose versions a run's record names."""


class CsvTable:
    """A CSV file that grows by rows and, when a new key appears, by columns.

    Args:
        path: the file; an existing one is continued.
        keep_until: rows of later steps are dropped first: a resumed run writes them again.
    """

    def __init__(self, path: Path, *, keep_until: int = -1) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.is_file() and keep_until >= 0:
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = [r for r in csv.DictReader(file) if int(r["step"]) <= keep_until]
        self.columns = list(dict.fromkeys(["step", *(k for row in self.rows for k in row)]))
        self._rewrite()

    def add(self, step: int, values: Mapping[str, float | str | None]) -> None:
        """Append a row; None is an empty cell."""
        row = {"step": str(step)} | {k: "" if v is None else str(v) for k, v in values.items()}
        self.rows.append(row)
        new = [k for k in row if k not in self.columns]
        if new:
            self.columns += new
            self._rewrite()
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def _rewrite(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)


class CsvLog(KVWriter):
    """SB3's log values as a `CsvTable`."""

    def __init__(self, table: CsvTable) -> None:
        self.table = table

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """One row of all numbers that are not excluded from ``csv``."""
        del key_excluded  # SB3 excludes from TensorBoard only, and only what repeats the step
        numbers = {
            k: float(v)
            for k, v in sorted(key_values.items())
            if isinstance(v, int | float | np.number)
        }
        self.table.add(step, numbers)

    def close(self) -> None:
        """Nothing is held open."""


class TensorBoardLog(TensorBoardOutputFormat):
    """SB3's TensorBoard writer, which hides what an interrupted run wrote after its checkpoint."""

    def __init__(self, folder: Path, *, keep_until: int = -1) -> None:
        purge = keep_until + 1 if folder.exists() else None
        self.writer = SummaryWriter(log_dir=str(folder), purge_step=purge)
        self._is_closed = False

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Write values at a step, at once and apart from SB3's own dumps."""
        for key, value in values.items():
            if value is not None:
                self.writer.add_scalar(key, value, step)
        self.writer.flush()


def make_logger(progress: CsvTable, board: TensorBoardLog) -> Logger:
    """SB3's logger into a table and TensorBoard, silent on the terminal."""
    return Logger(folder=None, output_formats=[CsvLog(progress), board])


def versions() -> dict[str, str]:
    """Versions of Python and of what decides a training's numbers."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> str | None:
    """Commit of the checkout that this file is tracked in, ``+`` if changed; None if in none."""
    here = Path(__file__)
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    head = _git(here.parent, "rev-parse", "HEAD")
    changes = _git(here.parent, "status", "--porcelain", "--untracked-files=no")
    return head and head + ("+" if changes else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_json(path: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        CheckpointError: the file cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: truncated or not JSON: {error}") from None


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".tmp")
    scratch.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    scratch.replace(path)

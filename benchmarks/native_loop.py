"""Steps as one fused loop in C++, compiled when they are asked for.

For the benchmark only: the practical limit of a step. The sources are in ``benchmarks/native``.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from ctypes import POINTER, c_float, c_int64, c_uint64, c_void_p
from pathlib import Path
from typing import Any, ClassVar

import torch
from numpy_step import check_params
from torch import Tensor

from sixgym.envs.backend.rng import episode_key
from sixgym.envs.core.rows import Rows
from sixgym.envs.core.system import System

FOLDER = Path(__file__).with_name("native")
COMPILER = ("g++", "-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math")
NO_LIMIT = 2**63 - 1
FLOATS, WORDS = POINTER(c_float), POINTER(c_uint64)


def compiled(name: str) -> Any:
    """The library of ``native/{name}_step.cpp``.

    Raises:
        RuntimeError: there is no ``g++`` here, or it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        made, library = Path(folder) / f"{name}.o", Path(folder) / f"{name}.so"
        _run([*COMPILER, "-c", "-fPIC", f"{FOLDER / name}_step.cpp", "-o", f"{made}"])
        # Linked by itself: with -ffast-math the library would flush subnormal numbers to zero, and
        # not its own only but all of the thread that loads it.
        _run([COMPILER[0], "-shared", f"{made}", "-o", f"{library}"])
        return ctypes.CDLL(str(library))


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise RuntimeError("no g++ is at hand") from None
    if done.returncode:
        raise RuntimeError(f"g++ failed: {done.stderr[:300]}")


class NativeLoop:
    """A batch of rows, going on from where rows of the environment stand.

    A subclass gives the name of its source and the struct ``Tables`` in it. ``NAME_step`` takes the
    tables, the number of rows, the time limit, the tensors of the state, keys, counts of steps,
    actions, and where to write observation, reward, both flags and metrics; ``NAME_draws`` the
    tables, the number of rows, keys, counts of steps, and where to write the numbers of a step.

    Args:
        rows: started, of the default parameters in float32.
        library: from `compiled`.
    """

    name: ClassVar[str]
    fields: ClassVar[Sequence[tuple[str, Any]]]
    """Of the struct, in its order, with their types in C."""
    drawn: ClassVar[tuple[int, int]]
    """Complex normals and uniforms of a row in a step."""

    def __init__(self, rows: Rows[Any, Any], library: Any) -> None:
        check_params(rows.system)
        self._library, self._count = library, rows.num_rows
        self._limit = rows.max_episode_steps or NO_LIMIT
        self._kept = self.tables(rows.system)  # their tensors are pointed to
        struct = type("Tables", (ctypes.Structure,), {"_fields_": list(self.fields)})
        self._tables = struct(*(_as_c(kind, self._kept[name]) for name, kind in self.fields))
        like = rows.observation()
        assert isinstance(like, Tensor)
        layout = torch.contiguous_format
        self.state = [leaf.clone(memory_format=layout) for leaf in rows.state]
        self.key, self.steps = episode_key(rows.seed, rows.episode), rows.step.clone()
        self.seen = torch.empty_like(like, memory_format=layout)
        self.reward = torch.empty(self._count)
        self.terminated = torch.empty(self._count, dtype=torch.bool)
        self.truncated = torch.empty(self._count, dtype=torch.bool)
        self.metrics = torch.empty(self._count, len(rows.metric_names))
        normals, uniforms = self.drawn
        self.normals = torch.empty(self._count, 2, normals)
        self.uniforms = torch.empty(self._count, uniforms)

    def tables(self, system: System[Any, Any]) -> Mapping[str, float | Tensor]:
        """What the fields of the struct hold; tensors contiguous."""
        raise NotImplementedError

    def step(self, action: Tensor) -> None:
        """One step of all rows, in place.

        Args:
            action: as `Rows.advance` takes it, contiguous.
        """
        places = (*self.state, self.key, self.steps, action, self.seen, self.reward)
        places += (self.terminated, self.truncated, self.metrics)
        self._call("step", c_int64(self._limit), *places)

    def draw(self) -> None:
        """The random numbers of the step that the counts are at, into `normals` and `uniforms`."""
        self._call("draws", self.key, self.steps, self.normals, self.uniforms)

    def _call(self, what: str, *places: Any) -> None:
        pointers = [c_void_p(p.data_ptr()) if isinstance(p, Tensor) else p for p in places]
        function = getattr(self._library, f"{self.name}_{what}")
        function(ctypes.byref(self._tables), c_int64(self._count), *pointers)


def _as_c(kind: Any, value: Any) -> Any:
    return ctypes.cast(value.data_ptr(), kind) if isinstance(value, Tensor) else value

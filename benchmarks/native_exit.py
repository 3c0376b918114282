"""`sixgym/EventOffloadExit-v0` as one fused loop in C++, compiled when it is asked for.

For the benchmark only: the practical limit of a step. See ``benchmarks/native/exit_step.cpp``.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from ctypes import POINTER, c_float, c_int64, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import torch
from numpy_exit import check_params
from torch import Tensor

from sixgym.envs.core.rows import Rows
from sixgym.envs.event_offload.exit_system import EXIT_FEATURES, EventOffloadExit

SOURCE = Path(__file__).with_name("native") / "exit_step.cpp"
COMPILER = ("g++", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")

_TABLES = [
    *((name, POINTER(c_float)) for name in ("features", "traits", "next_mac")),
    ("events", POINTER(c_uint64)),
    ("gain", c_uint64),
    *((name, c_float) for name in ("prevalence", "tail_slope", "head_slope")),
    *((name, c_int64) for name in ("tails", "first")),
    *((name, c_float) for name in ("first_mac", "energy_per_mac", "power", "bandwidth", "min_snr")),
    *((name, c_float) for name in ("slot_s", "mean_snr", "budget", "worth", "price")),
    *((name, c_int64) for name in ("num_events", "horizon")),
]


class Tables(ctypes.Structure):
    """The struct of the same name in the source."""

    _fields_ = _TABLES  # type: ignore[assignment]


def compiled() -> Any:
    """The function ``exit_step``.

    Raises:
        RuntimeError: there is no ``g++`` here, or it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "exit_step.so"
        try:
            done = subprocess.run(
                [*COMPILER, str(SOURCE), "-o", str(library)],
                check=False,
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            raise RuntimeError("no g++ is at hand") from None
        if done.returncode:
            raise RuntimeError(f"g++ failed: {done.stderr[:300]}")
        return ctypes.CDLL(str(library)).exit_step


class NativeExit:
    """A batch of rows, going on from where rows of the environment stand.

    Args:
        rows: started, of the default parameters in float32.
        function: from `compiled`.
    """

    def __init__(self, rows: Rows[Any, Any], function: Any) -> None:
        system = rows.system
        assert isinstance(system, EventOffloadExit)
        check_params(system)
        p, bank, count = system.params, system.bank, rows.num_rows
        self._function, self._count = function, count
        prevalence, tail, head = bank.mixes[0].tolist()
        first, first_head = bank.starts[0].tolist()
        self._kept = [
            system._features.contiguous(),
            bank.traits.contiguous(),
            system._next_mac.contiguous(),
            system._event_draws.table.contiguous(),
        ]
        kinds = (POINTER(c_float),) * 3 + (POINTER(c_uint64),)
        pointers = [
            ctypes.cast(t.data_ptr(), kind) for t, kind in zip(self._kept, kinds, strict=True)
        ]
        self._tables = Tables(
            *pointers,
            int(system._slot_draws.table[0]) & 2**64 - 1,
            *(prevalence, tail, head, first_head - first, first),
            *(system._first_mac, p.energy_per_mac_j, p.transmit_power_w),
            p.payload_bits * 0.6931471805599453 / p.bandwidth_hz,
            *(system.link.min_snr, p.slot_s, p.mean_snr, p.budget_j),
            *(1.0 / p.stationary_prevalence, p.energy_price, p.num_events, p.horizon_slots),
        )
        state = rows.state
        self.key, self.fading = state.key.clone(), state.fading.clone().contiguous()
        self.sample, self.vitals = state.sample.clone(), state.vitals.clone().contiguous()
        self.step_count = rows.step.clone()
        self.seen = torch.empty(count, system.num_exits + EXIT_FEATURES)
        self.reward = torch.empty(count)
        self.terminated = torch.empty(count, dtype=torch.bool)
        self.truncated = torch.empty(count, dtype=torch.bool)
        self.metrics = torch.empty(count, len(rows.metric_names))

    def step(self, action: Tensor) -> None:
        """One step of all rows, in place; (rows,) int64 actions."""
        places = (self.key, self.fading, self.sample, self.vitals, action, self.seen, self.reward)
        places += (self.terminated, self.truncated, self.metrics, self.step_count)
        self._function(
            ctypes.byref(self._tables),
            c_int64(self._count),
            *(c_void_p(t.data_ptr()) for t in places),
        )

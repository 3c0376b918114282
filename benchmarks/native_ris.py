"""`sixgym/RisNoma-v0` as one fused loop; see ``native/ris_step.cpp``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from ctypes import c_float
from typing import Any

from native_loop import WORDS, NativeLoop
from torch import Tensor

from sixgym.envs.core.system import System
from sixgym.envs.ris_noma.system import RisNoma


class NativeRis(NativeLoop):
    """See `NativeLoop`."""

    name = "ris"
    drawn = (164, 4)
    fields = (
        ("words", WORDS),
        *((name, c_float) for name in ("least_rho", "budget", "price", "beta", "cap_w")),
        *((name, c_float) for name in ("amplifier_s", "queue_limit", "correlation", "spread")),
        *((name, c_float) for name in ("busy", "least_task", "task_slope", "static_j")),
        *((name, c_float) for name in ("reference_ee", "drop_weight", "mean_bits")),
        *((name, c_float) for name in ("most_task", "horizon")),
    )

    def tables(self, system: System[Any, Any]) -> Mapping[str, float | Tensor]:
        """What the fields of the struct hold; tensors contiguous."""
        assert isinstance(system, RisNoma)
        p, model = system.params, system.model
        return {
            "words": system.step_draws.table.contiguous(),
            "least_rho": p.rho_min,
            "budget": model.cycle_budget / p.cycles_per_bit,
            "price": model.compute_price,
            "beta": model.beta,
            "cap_w": p.max_power_w,
            "amplifier_s": model.amplifier_s,
            "queue_limit": p.queue_limit_bits,
            "correlation": p.fading_correlation,
            "spread": math.sqrt(1.0 - p.fading_correlation**2),
            "busy": p.arrival_probability,
            "least_task": p.min_task_bits,
            "task_slope": (p.max_task_bits - p.min_task_bits) / p.arrival_probability,
            "static_j": model.static_j,
            "reference_ee": p.reference_ee,
            "drop_weight": p.drop_weight,
            "mean_bits": model.mean_bits,
            "most_task": p.max_task_bits,
            "horizon": p.horizon_slots,
        }

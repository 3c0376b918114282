"""`sixgym/EventOffloadExit-v0` as one fused loop; see ``native/exit_step.cpp``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from ctypes import c_float, c_int64, c_uint64
from typing import Any

from native_loop import FLOATS, WORDS, NativeLoop
from torch import Tensor

from sixgym.envs.core.system import System
from sixgym.envs.event_offload.exit_system import EventOffloadExit


class NativeExit(NativeLoop):
    """See `NativeLoop`."""

    name = "exit"
    drawn = (1, 1)
    fields = (
        *((name, FLOATS) for name in ("features", "traits", "next_mac")),
        ("events", WORDS),
        ("gain", c_uint64),
        *((name, c_float) for name in ("prevalence", "tail_slope", "head_slope")),
        *((name, c_int64) for name in ("tails", "first")),
        *((name, c_float) for name in ("first_mac", "energy_per_mac", "power", "bandwidth")),
        *((name, c_float) for name in ("min_snr", "slot_s", "mean_snr", "budget")),
        *((name, c_float) for name in ("worth", "price")),
        *((name, c_int64) for name in ("num_events", "horizon")),
    )

    def tables(self, system: System[Any, Any]) -> Mapping[str, float | Tensor]:
        """What the fields of the struct hold; tensors contiguous."""
        assert isinstance(system, EventOffloadExit)
        p, bank = system.params, system.bank
        prevalence, tail, head = bank.mixes[0].tolist()
        first, first_head = bank.starts[0].tolist()
        return {
            "features": system._features.contiguous(),
            "traits": bank.traits.contiguous(),
            "next_mac": system._next_mac.contiguous(),
            "events": system._event_draws.table.contiguous(),
            "gain": int(system._slot_draws.table[0]) & 2**64 - 1,
            "prevalence": prevalence,
            "tail_slope": tail,
            "head_slope": head,
            "tails": first_head - first,
            "first": first,
            "first_mac": system._first_mac,
            "energy_per_mac": p.energy_per_mac_j,
            "power": p.transmit_power_w,
            "bandwidth": p.payload_bits * math.log(2.0) / p.bandwidth_hz,
            "min_snr": system.link.min_snr,
            "slot_s": p.slot_s,
            "mean_snr": p.mean_snr,
            "budget": p.budget_j,
            "worth": 1.0 / p.stationary_prevalence,
            "price": p.energy_price,
            "num_events": p.num_events,
            "horizon": p.horizon_slots,
        }

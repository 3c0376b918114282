"""Parameters of `sixgym/EventOffloadMulti-v0`; marks as in `sixgym.envs.event_offload.params`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from sixgym.envs.core.params import param
from sixgym.envs.event_offload.params import EventOffloadBaseParams

MAX_DEVICES = 32
"""Sharing compares every pair of devices."""


class EventOffloadMultiParams(EventOffloadBaseParams):
    """Parameters of `sixgym/EventOffloadMulti-v0`.

    Where a value differs by device there is a tuple beside the common one; it is cycled through.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "prevalence_02": {"prevalence": 0.2},
        "same_traces": {"device_scores": ()},
        "battery": {"budget_mode": "battery"},
        "bursty": {"labels": "bursty"},
        "bursty_battery": {"labels": "bursty", "budget_mode": "battery"},
        "bid": {"alloc": "bid"},
        "max_sum": {"alloc": "maxsum"},
        "team": {"reward": "team_log"},
        "fredi": {
            "num_servers": 3,
            "geometry": "triangle",
            "bandwidth_hz": 20e6,
            "transmit_power_w": 0.2,
            "num_events": 100,
            "prevalence": 0.5,
            "capacity_share": 0.5,
            "device_scores": (),
            "budget_mode": "average",
            "budget_j": 10e-3,
        },
    }

    # ------------------------------------------------------------------------------------ devices
    num_devices: int = param(
        6,
        unit="1",
        source="related",
        description="Devices N_u.",
        note="FREDI",
        ge=1,
        le=MAX_DEVICES,
    )
    device_scores: tuple[str, ...] = param(
        ("digits38", "digits89"),
        unit="",
        source="ours",
        description="Scores of the devices in turn, each a value of `scores` or the path of a "
        "trace file ending in .npz; empty: all have `scores` (or `traces`).",
        note="heterogeneity makes fairness visible",
    )
    device_prevalence: tuple[float, ...] = param(
        (),
        unit="1",
        source="ours",
        description="Tail probabilities of the devices in turn, each in [1e-4, 1]; empty: all have "
        "`prevalence`.",
    )
    snr_spread_db: float = param(
        12.0,
        unit="dB",
        source="ours",
        description="The devices' mean SNRs are evenly spaced over this range around mean_snr_db, "
        "by default from 4 to 16 dB (geometry given).",
        ge=0.0,
        le=60.0,
    )
    weights: tuple[float, ...] = param(
        (),
        unit="1",
        source="related",
        description="Weights rho of the devices in turn, each in (0, 1000]; empty: all 1.",
        note="FREDI equation 11",
    )

    # ------------------------------------------------------------------------------------ servers
    num_servers: int = param(
        1,
        unit="1",
        source="related",
        description="Servers M_s, each with bandwidth_hz of its own.",
        note="FREDI: 3",
        ge=1,
        le=8,
    )
    capacity_share: float = param(
        0.4,
        unit="1",
        source="ours",
        description="Events that all servers together can process in a slot, as a share of all "
        "events; every server has an equal part W_j, rounded down.",
        note="FREDI: W_j from 60 to 200 of 600 events at 3 servers, a share of 0.3 to 1",
        ge=0.0,
        le=1.0,
    )
    geometry: Literal["given", "triangle"] = param(
        "given",
        unit="",
        source="ours",
        description="given: mean SNRs by mean_snr_db and snr_spread_db; triangle: three servers at "
        "the corners, devices uniform inside, anew in every episode, path loss by distance.",
        note="triangle is FREDI's; where its devices stand is our choice",
    )
    triangle_side_m: float = param(
        70.0, unit="m", source="related", description="Side of the triangle.", note="FREDI",
        gt=0.0, le=1e5,
    )  # fmt: skip
    path_loss_exponent: float = param(
        4.0, unit="1", source="related", description="Gain is distance to minus this power.",
        note="FREDI", ge=1.0, le=8.0,
    )  # fmt: skip
    noise_dbm_per_hz: float = param(
        -174.0, unit="dBm/Hz", source="related", description="Noise density of the triangle.",
        note="FREDI", ge=-250.0, le=0.0,
    )  # fmt: skip
    association: Literal["balanced", "strongest"] = param(
        "balanced",
        unit="",
        source="ours",
        description="Which server a device uses in an episode. balanced: device by device, the "
        "eligible one with the least weight so far, of equal ones the strongest; strongest: the "
        "eligible one with the largest mean SNR.",
    )
    eligible: tuple[tuple[bool, ...], ...] = param(
        (),
        unit="",
        source="related",
        description="Row n, column j: whether device n may use server j; empty: all may.",
        note="FREDI's security levels give such a matrix; they are not modelled",
    )

    # -------------------------------------------------------------------------- sharing and reward
    alloc: Literal["pf", "equal", "maxsum", "bid"] = param(
        "pf",
        unit="",
        source="related",
        description="How a server's bandwidth and capacity are shared in a slot. pf: by weight, "
        "and capacity by capped water-filling; equal: in equal parts; maxsum: bandwidth as pf, "
        "capacity for the largest sum of attainable utilities; bid: bandwidth by a softmax of the "
        "devices' bids (a third action), capacity as pf.",
        note="pf is FREDI's first stage",
    )
    reward: Literal["pf_gradient", "team_log", "own"] = param(
        "pf_gradient",
        unit="",
        source="standard",
        description="pf_gradient: weight times utility over its running mean, the gradient of "
        "proportional fairness; team_log: everyone gets the weighted sum of log mean utilities at "
        "slot horizon_slots, or when all batteries are empty; own: the utility.",
    )
    utility: Literal["tpr", "acc"] = param(
        "tpr",
        unit="",
        source="related",
        description="What a device's utility counts: served tails (tpr), or those that the server "
        "names right (acc), over M pi.",
        note="FREDI equation 11 has the true positive rate",
    )
    utility_memory: float = param(
        0.95,
        unit="1",
        source="ours",
        description="Memory of the running mean of a device's utility.",
        ge=0.0,
        lt=1.0,
    )
    budget_mode: Literal["slot", "average", "battery"] = param(
        "slot",
        unit="",
        source="notes",
        description="Energy budget of every device, as in EventOffload-v0; battery: a device whose "
        "battery is empty leaves (in reward team_log it stays, idle, so that nobody escapes the "
        "closing payment).",
    )
    hard: bool = param(
        True,
        unit="",
        source="ours",
        description="In budget mode slot, a device whose pair breaks its constraint has utility 0 "
        "in that slot; False only reports it.",
    )

    @model_validator(mode="after")
    def _tuples_fit(self) -> Self:
        for name, low, high in (("device_prevalence", 1e-4, 1.0), ("weights", 1e-9, 1e3)):
            values = getattr(self, name)
            if not all(low <= v <= high for v in values):
                raise ValueError(f"{name}={values!r}: allowed: each from {low:g} to {high:g}")
        if self.device_prevalence and self.labels == "bursty":
            raise ValueError("device_prevalence: without effect on bursty labels; allowed: ()")
        for name in ("device_prevalence", "weights"):
            if len(getattr(self, name)) > self.num_devices:
                raise ValueError(
                    f"{name}: {len(getattr(self, name))} values; allowed: at most num_devices "
                    f"({self.num_devices})"
                )
        return self

    @model_validator(mode="after")
    def _servers_fit(self) -> Self:
        if self.geometry == "triangle" and self.num_servers != 3:
            raise ValueError(
                f"num_servers={self.num_servers!r}: allowed with geometry='triangle': 3"
            )
        shape = (self.num_devices, self.num_servers)
        lengths = {len(row) for row in self.eligible}
        if self.eligible and (len(self.eligible) != shape[0] or lengths != {shape[1]}):
            raise ValueError(f"eligible: allowed: {shape[0]} rows of {shape[1]} booleans")
        if not all(any(row) for row in self.eligible):
            raise ValueError("eligible: a device without a server; allowed: at least one each")
        return self

    def files(self) -> dict[str, tuple[str, ...]]:
        """The traces of the scores of all devices, and of the channel."""
        own = tuple(name for name in self.device_scores if name.endswith(".npz"))
        return super().files() | ({"device_scores": own} if own else {})

    @property
    def server_events(self) -> int:
        """Capacity W_j of one server, events per slot: 48 by default."""
        whole = self.capacity_share * self.num_devices * self.num_events / self.num_servers
        return int(whole + 1e-9)  # 0.3 * 600 / 3 is 60, not 59.99

    def of_devices(self, values: tuple[float, ...], common: float) -> NDArray[np.float64]:
        """(devices,) values in turn, or the common one where there are none."""
        return np.resize(values or (common,), self.num_devices).astype(np.float64)

    @property
    def prevalences(self) -> NDArray[np.float64]:
        """(devices,) tail probability pi_n in the long run."""
        return self.of_devices(self.device_prevalence, self.stationary_prevalence)

    @property
    def rho(self) -> NDArray[np.float64]:
        """(devices,) weights."""
        return self.of_devices(self.weights, 1.0)

    @property
    def mean_snrs(self) -> NDArray[np.float64]:
        """(devices,) mean SNR, linear, of geometry ``given``."""
        half = self.snr_spread_db / 2.0
        offsets = np.linspace(-half, half, self.num_devices) if self.num_devices > 1 else [0.0]
        return np.asarray(10.0 ** ((self.mean_snr_db + np.asarray(offsets)) / 10.0))

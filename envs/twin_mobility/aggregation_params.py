"""Parameters of `sixgym/AgentAggregation-v0`.

The paper (arXiv 2604.02381, "Agentic AI-Empowered Wireless Agent Networks With Semantic-Aware
Collaboration via ILAC") was not read beyond its abstract. Marks: `notes` is an equation, a number
of its table or a name that a public reproduction restates from it; `related` is a value that the
reproduction chose because the paper gives none; `standard` is common usage; `ours` was chosen here.
No number below is the paper's at first hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from sixgym.envs.backend.mobility import PolynomialMotion
from sixgym.envs.core.params import Params, param

MAX_AGENTS = 12
"""Pairings are enumerated: 10,395 for 12 agents. [ours]"""
MAX_CELLS = 400
"""Most cells of a side of the raster."""

PairingMode = Literal["bids", "hmap", "central"]
ActionMode = Literal["flat", "hybrid"]

STRESS: dict[str, Any] = {
    "round_time_s": 2.5,
    "payload_range_bit": (15e6, 25e6),
    "gain_1m": 1e-5,
    "cpu_flops": 2.5e9,
    "work_gen_flop_per_bit": 120.0,
}
"""Constants of the reproduction under which communication costs something. [related]"""


class AgentAggregationParams(Params):
    """Parameters of `sixgym/AgentAggregation-v0`; see the module for the marks."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "small": {"num_agents": 6},
        "stress": STRESS,
        "stress_small": {**STRESS, "num_agents": 6},
        "hmap": {"pairing": "hmap"},
        "central": {"pairing": "central"},
        "sequential": {"parallel_move_compute": False},
        "leaving": {"death_mode": "remove"},
    }

    # ---------------------------------------------------------------------------- agents and areas
    num_agents: int = param(
        10, unit="1", source="notes", description="Agents N; the pairings of an odd number have a "
        "virtual partner.", ge=2, le=MAX_AGENTS,
    )  # fmt: skip
    area_m: float = param(
        500.0, unit="m", source="notes", description="Side W of the square in which the centres of "
        "the patrol discs lie.", ge=10.0, le=1e4,
    )  # fmt: skip
    radius_range_m: tuple[float, float] = param(
        (80.0, 100.0), unit="m", source="notes", description="Patrol radius R_i, uniform in this "
        "range; from 1 to margin_m.",
    )  # fmt: skip
    payload_range_bit: tuple[float, float] = param(
        (5e6, 10e6), unit="bit", source="notes", description="First payload L_i, uniform in this "
        "range; from 1 to 1e12.",
    )  # fmt: skip
    cell_m: float = param(
        5.0, unit="m", source="ours", description="Side of a cell of the raster on which areas are "
        "counted.", note="keeps Jaccard indices within 0.01; 10 m does not", gt=0.0, le=100.0,
    )  # fmt: skip
    margin_m: float = param(
        100.0, unit="m", source="ours", description="How far the raster reaches beyond the square.",
        ge=1.0, le=1e4,
    )  # fmt: skip

    # ------------------------------------------------------------------------------------- a round
    round_time_s: float = param(
        6.0, unit="s", source="notes", description="Deadline T_max of a round.", gt=0.2, le=1e4
    )
    parallel_move_compute: bool = param(
        True,
        unit="",
        source="related",
        description="Whether an agent moves and computes at once (the longer of both counts), or "
        "one after the other.",
    )
    extra_rounds: int = param(
        2, unit="1", source="ours", description="Rounds beyond ceil(log2 N) after which an episode "
        "with several active agents ends as failed.", ge=0, le=8,
    )  # fmt: skip
    speed_max_mps: float = param(
        5.0, unit="m/s", source="notes", description="Largest speed v_max.", gt=0.0, le=1e3
    )
    move_margin_s: float = param(
        0.2, unit="s", source="ours", description="Part of the round that no motion may use.",
        ge=0.0, le=1e3,
    )  # fmt: skip
    motion_static_w: float = param(
        0.2, unit="W", source="related", description="P_s of P(v) = P_s + k1 v + k2 v^2 while "
        "moving.", note="form: notes", gt=0.0, le=1e5,
    )  # fmt: skip
    motion_linear_j_per_m: float = param(
        0.05, unit="J/m", source="related", description="k1 of the same.", ge=0.0, le=1e5
    )
    motion_quadratic: float = param(
        0.01, unit="W s^2/m^2", source="related", description="k2 of the same.", gt=0.0, le=1e5
    )

    # ------------------------------------------------------------------------------------- compute
    cpu_flops: float = param(
        1e9, unit="FLOP/s", source="notes", description="Computing rate f.", gt=0.0, le=1e15
    )
    cpu_capacitance: float = param(
        1e-28, unit="J s^2/FLOP^3", source="notes", description="tau_c: a FLOP costs tau_c f^2.",
        ge=0.0, le=1e-15,
    )  # fmt: skip
    work_base_flop_per_bit: float = param(
        60.0, unit="FLOP/bit", source="related", description="C_base of the load "
        "L (C_base + C_gen gamma (1 - rho) ln(1 / eta)).", ge=0.0, le=1e6,
    )  # fmt: skip
    work_gen_flop_per_bit: float = param(
        350.0, unit="FLOP/bit", source="related", description="C_gen of the same.", ge=0.0, le=1e6
    )
    work_gamma: float = param(
        1.0, unit="1", source="related", description="gamma of the same.", ge=0.0, le=100.0
    )
    use_redundancy: bool = param(
        True,
        unit="",
        source="notes",
        description="Whether shared knowledge saves work; False takes rho = 0 (No-RAG).",
    )
    compression_min: float = param(
        0.05, unit="1", source="related", description="Least ratio eta_min of kept to held bits.",
        gt=0.0, le=1.0,
    )  # fmt: skip
    compression_required: float = param(
        0.6, unit="1", source="related", description="Largest ratio eta_req at which a receiver "
        "keeps its own payload, at least compression_min; 1 with ratios of 1 is No-Semantic.",
        gt=0.0, le=1.0,
    )  # fmt: skip

    # ---------------------------------------------------------------------------------------- link
    bandwidth_hz: float = param(
        1e6, unit="Hz", source="notes", description="Bandwidth B of each link.", gt=0.0, le=1e12
    )
    gain_1m: float = param(
        1e-4, unit="1", source="notes", description="Power gain beta_0 at 1 m.", ge=1e-9, le=1.0
    )
    path_loss_exponent: float = param(
        3.0, unit="1", source="notes", description="delta_p: the gain falls as distance to minus "
        "this power.", ge=1.0, le=6.0,
    )  # fmt: skip
    distance_min_m: float = param(
        1.0, unit="m", source="related", description="Least distance of the gain's law.",
        ge=0.01, le=100.0,
    )  # fmt: skip
    noise_w: float = param(
        3.98e-15, unit="W", source="related", description="Noise power sigma^2 of a link.",
        note="-174 dBm/Hz times 1 MHz; does not follow bandwidth_hz", gt=0.0, le=1.0,
    )  # fmt: skip
    power_max_w: float = param(
        1.0, unit="W", source="notes", description="Largest transmit power P_max.", gt=0.0, le=1e3
    )
    power: Literal["least", "max"] = param(
        "least",
        unit="",
        source="notes",
        description="least: a sender fills the time that is left at the lowest power; max: it "
        "sends at P_max and is done earlier (Max-Transmit-Power).",
    )
    tx_time_min_s: float = param(
        0.01, unit="s", source="ours", description="A link with no more time than this fails.",
        ge=0.0, le=10.0,
    )  # fmt: skip

    # ------------------------------------------------------------------------------------- pairing
    pairing: PairingMode = param(
        "bids",
        unit="",
        source="ours",
        description="bids: the perfect matching of most mutual bids, the smaller payload is sent; "
        "hmap: the paper's potential-field matching, agents only control u; central: the bids of "
        "all agents are one matrix of scores, entry (i, j) for i sending to j, and the matching "
        "takes the better direction of each pair.",
        note="hmap: notes",
    )
    potential_weight: float = param(
        1e-14, unit="J/(bit m^delta_p)", source="notes", description="zeta of the potential "
        "zeta |p - mean p|^delta_p L of hmap and of the shaping.", ge=0.0, le=1.0,
    )  # fmt: skip
    action_mode: ActionMode = param(
        "flat",
        unit="",
        source="ours",
        description="hybrid: a dictionary of bids and u for each agent; flat: both in one box.",
    )
    death_mode: Literal["masked", "remove"] = param(
        "masked",
        unit="",
        source="ours",
        description="masked: an agent that has handed over stays, idle, and is paid with the team; "
        "remove: it leaves the game, and escapes what later rounds cost.",
    )

    # -------------------------------------------------------------------------------------- reward
    energy_ref_j: float = param(
        0.5, unit="J", source="ours", description="Energy E_ref that costs a reward of 1.",
        note="a pair of the paper spends 0.3 to 0.5 J [notes]", gt=0.0, le=1e6,
    )  # fmt: skip
    failure_penalty: float = param(
        1.0, unit="1", source="ours", description="Reward lost by a failed link.", ge=0.0, le=1e3
    )
    stranded_j: float = param(
        10.0,
        unit="J",
        source="ours",
        description="Energy that an episode ended as failed is charged for each agent that should "
        "have handed over, in the reward and in mission_j.",
        note="more than a handover costs; without it, letting links fail would be the cheapest",
        ge=0.0,
        le=1e6,
    )
    shaping_weight: float = param(
        0.0, unit="1", source="standard", description="Weight of the shaping gamma Phi' - Phi, Phi "
        "being minus the potential of the active agents over E_ref; 0 at the end.",
        note="leaves the best policies as they are [Ng et al. 1999]", ge=0.0, le=100.0,
    )  # fmt: skip
    shaping_discount: float = param(
        0.99, unit="1", source="ours", description="gamma of the shaping.", gt=0.0, le=1.0
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, least, most in (
            ("radius_range_m", 1.0, self.margin_m),
            ("payload_range_bit", 1.0, 1e12),
        ):
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ValueError(
                    f"{name}={(low, high)}: allowed: rising, from {least:g} to {most:g}"
                )
        if self.compression_required < self.compression_min:
            raise ValueError(
                f"compression_required={self.compression_required!r}: allowed: at least "
                f"compression_min={self.compression_min!r}"
            )
        if self.move_margin_s >= self.round_time_s:
            raise ValueError(
                f"move_margin_s={self.move_margin_s!r}: allowed: below "
                f"round_time_s={self.round_time_s!r}"
            )
        cells = (self.area_m + 2.0 * self.margin_m) / self.cell_m  # infinite of a tiny cell
        if cells > MAX_CELLS:
            raise ValueError(
                f"cell_m={self.cell_m!r}: {cells:.6g} cells a side; allowed: {MAX_CELLS}"
            )
        return self

    @property
    def rounds(self) -> int:
        """K = ceil(log2 N): rounds of a mission without a failed link."""
        return math.ceil(math.log2(self.num_agents))

    @property
    def max_rounds(self) -> int:
        """Rounds after which an episode ends in any case."""
        return self.rounds + self.extra_rounds

    @property
    def side_cells(self) -> int:
        """Cells of a side of the raster: 140 by default."""
        return math.ceil((self.area_m + 2.0 * self.margin_m) / self.cell_m - 1e-9)

    @property
    def motion(self) -> PolynomialMotion:
        """The power of moving."""
        return PolynomialMotion(
            self.motion_static_w, self.motion_linear_j_per_m, self.motion_quadratic
        )

    @property
    def reach_time_s(self) -> float:
        """Longest time of motion in a round: 5.8 s by default."""
        return self.round_time_s - self.move_margin_s

    @property
    def joule_per_flop(self) -> float:
        """Energy tau_c f^2 of a FLOP."""
        return self.cpu_capacitance * self.cpu_flops**2

"""Parameters that `sixgym/TwinSync-v0` and `sixgym/TwinRound-v0` share.

Of the paper (arXiv 2605.14625) only the abstract was read: it names the stages, the objective and
the findings, but no number. Marks: `notes` is said of it, or of the companion paper on agent
aggregation (arXiv 2604.02381), by third parties that read them; `related` is a value of a public
reproduction of the companion; `standard` is common usage; `ours` was chosen here. No number below
is the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from sixgym.envs.backend.mobility import Motion, PolynomialMotion, RotaryWing
from sixgym.envs.core.params import Params, param

MAX_AGENTS, MAX_REGIONS = 64, 16
ROTARY_WING = RotaryWing()
"""The motion of platform uav."""
LEAST_FIDELITY, MOST_FIDELITY = 0.0, 0.9999
RANGES: dict[str, tuple[float, float]] = {
    "raw_bits_range": (1.0, 1e12),
    "kappa_range": (1e-6, 1e3),
    "fidelity_range": (LEAST_FIDELITY, MOST_FIDELITY),
    "drift_range": (0.0, 1e3),
    "cpu_max_range_flops": (1.0, 1e18),
    "age_range_s": (0.0, 1e6),
}
"""Least and largest bound of each pair of bounds."""
ORDERED = (
    ("speed_min_mps", "speed_max_mps"),
    ("sensing_min_s", "sensing_max_s"),
    ("power_min_w", "power_max_w"),
)

COMMON_PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "small": {"num_agents": 3, "num_regions": 2},
    "large": {"num_agents": 16, "num_regions": 8},
    "tiny": {"num_agents": 3, "num_regions": 2, "age_range_s": (0.0, 0.0)},
    "paper_strict": {
        "compression_loss": 0.0,
        "raw_mode": "fixed",
        "fixed_cpu": True,
        "equal_weight": True,
    },
    "wan_channel": {"path_loss_exponent": 3.0, "power_max_w": 1.0},
    "tight_energy": {"cycle_energy_j": 100.0},
    "narrowband": {"bandwidth_hz": 1e6},
    "wideband": {"bandwidth_hz": 16e6},
    "uav": {
        "platform": "uav",
        "speed_max_mps": 30.0,
        "cycle_energy_j": 8e3,
        "battery_j": 120e3,
    },
    "power_active": {"power_max_w": 1.0, "pa_efficiency": 0.2},
    "ages_zero": {"age_range_s": (0.0, 0.0)},
}
"""Presets of both systems; `tiny` has the sizes of the assignment instance that is checked by hand,
whose arrays come by the reset option ``instance``."""


class TwinBaseParams(Params):
    """What the systems of twin synchronisation share; see the module for the marks."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = COMMON_PRESETS

    # ------------------------------------------------------------------------------- sizes, the map
    num_agents: int = param(
        8, unit="1", source="ours", description="Agents N.", note="companion: up to 10",
        ge=1, le=MAX_AGENTS,
    )  # fmt: skip
    num_regions: int = param(
        4, unit="1", source="ours", description="Regions R.", ge=1, le=MAX_REGIONS
    )
    area_m: float = param(
        1000.0, unit="m", source="ours", description="Side W of the square map; the base station "
        "stands in its centre.", note="companion: 500", ge=10.0, le=1e6,
    )  # fmt: skip
    bs_height_m: float = param(
        10.0, unit="m", source="ours", description="Height H of the antenna.",
        note="removes the singularity of the gain at distance 0", gt=0.0, le=1e4,
    )  # fmt: skip
    approach_limit_m: float = param(
        10.0, unit="m", source="ours", description="How near g_min to the station's ground point "
        "an agent may come by its own will.", ge=0.0, le=1e5,
    )  # fmt: skip
    sensing_radius_m: float = param(
        50.0, unit="m", source="ours", description="An agent senses a region from within this "
        "distance R_s of its centre.", note="companion: patrol radii 80 to 100", ge=0.0, le=1e5,
    )  # fmt: skip

    # --------------------------------------------------------------------------------------- motion
    platform: Literal["ugv", "uav"] = param(
        "ugv",
        unit="",
        source="ours",
        description="ugv: wheels, a polynomial motor; uav: rotary wings, which also hover while "
        "sensing, processing and transmitting.",
        note="the paper says mobile embodied agents",
    )
    speed_min_mps: float = param(
        1.0, unit="m/s", source="ours", description="Least speed v_min.", gt=0.0, le=1e3
    )
    speed_max_mps: float = param(
        20.0, unit="m/s", source="ours", description="Largest speed v_max.", note="companion: 5",
        gt=0.0, le=1e3,
    )  # fmt: skip
    motion_static_w: float = param(
        0.5, unit="W", source="ours", description="P_s of P(v) = P_s + k1 v + k2 v^2 (ugv).",
        note="form: notes; value of the reproduction 0.2", ge=0.0, le=1e5,
    )  # fmt: skip
    motion_linear_j_per_m: float = param(
        0.05, unit="J/m", source="ours", description="k1 of the same.",
        note="reproduction: 0.05", ge=0.0, le=1e5,
    )  # fmt: skip
    motion_quadratic: float = param(
        0.02, unit="W s^2/m^2", source="ours", description="k2 of the same: 5 m/s is the cheapest "
        "speed, at 0.25 J/m.", note="reproduction: 0.01", ge=0.0, le=1e5,
    )  # fmt: skip
    idle_power_w: float = param(
        0.0, unit="W", source="notes", description="Power of standing still at work (sensing, "
        "processing, transmitting); a parked agent is switched off.", ge=0.0, le=1e5,
    )  # fmt: skip

    # -------------------------------------------------------------------------------------- sensing
    sensing_rate_bps: float = param(
        8e6, unit="bit/s", source="ours", description="Raw data rate rho_s of sensing.",
        note="a 1 s look is one of the companion's payloads", gt=0.0, le=1e12,
    )  # fmt: skip
    raw_mode: Literal["rate", "fixed"] = param(
        "rate",
        unit="",
        source="ours",
        description="rate: raw bits L = rho_s tau; fixed: L of raw_bits_range, one draw for each "
        "agent and episode.",
        note="fixed is the companion's [notes]",
    )
    raw_bits_range: tuple[float, float] = param(
        (5e6, 10e6), unit="bit", source="notes", description="Range of L with raw_mode fixed."
    )
    sensing_power_w: float = param(
        1.0, unit="W", source="ours", description="Power P_sen of sensing.", ge=0.0, le=1e5
    )
    sensing_min_s: float = param(
        0.5, unit="s", source="ours", description="Least sensing time tau_min.", gt=0.0, le=1e4
    )
    sensing_max_s: float = param(
        20.0, unit="s", source="ours", description="Largest sensing time tau_max.", gt=0.0, le=1e4
    )
    kappa_range: tuple[float, float] = param(
        (0.2, 0.6), unit="nat/s", source="ours", description="Range of the agents' information "
        "rates kappa, one draw for each agent and episode.",
        note="4 to 12 s alone for a fidelity of 0.9",
    )  # fmt: skip
    modality: Literal["none", "random"] = param(
        "none",
        unit="",
        source="ours",
        description="random: kappa of an agent in a region is halved with probability 1/2 (its "
        "sensor suits the region less), one draw for each pair and episode.",
    )
    fidelity_range: tuple[float, float] = param(
        (0.80, 0.95), unit="1", source="ours", description="Range of the regions' required "
        "fidelity F_min."
    )  # fmt: skip
    drift_range: tuple[float, float] = param(
        (0.02, 0.06), unit="1/s", source="ours", description="Range of the regions' drift "
        "intensities lambda.", note="a deviation of 1 to 2 in a round",
    )  # fmt: skip
    omega: float = param(
        1.0, unit="1", source="ours", description="Weight of the infidelity in the deviation.",
        ge=0.0, le=1e3,
    )  # fmt: skip

    # ----------------------------------------------------------------------------------- processing
    work_base_flop_per_bit: float = param(
        60.0, unit="FLOP/bit", source="related", description="C_b of the work C(eta) = C_b + C_g "
        "gamma ln(1/eta) for each raw bit.", ge=0.0, le=1e9,
    )  # fmt: skip
    work_gen_flop_per_bit: float = param(
        350.0, unit="FLOP/bit", source="related", description="C_g of the same.", ge=0.0, le=1e9
    )
    work_gamma: float = param(
        1.0, unit="1", source="related", description="gamma of the same.", ge=0.0, le=1e3
    )
    cpu_min_flops: float = param(
        1e9, unit="FLOP/s", source="notes", description="Least processing rate f_min.",
        gt=0.0, le=1e18,
    )  # fmt: skip
    cpu_max_range_flops: tuple[float, float] = param(
        (3e9, 6e9), unit="FLOP/s", source="ours", description="Range of the agents' largest "
        "rates f_max."
    )  # fmt: skip
    fixed_cpu: bool = param(
        False, unit="", source="ours", description="The rate is f_max whatever the action."
    )
    cpu_capacitance: float = param(
        1e-28, unit="J s^2/FLOP^3", source="notes", description="tau_c of the energy tau_c f^2 of "
        "an operation.", ge=0.0, le=1.0,
    )  # fmt: skip
    compression_min: float = param(
        0.05, unit="1", source="related", description="Least compression ratio eta_min.",
        ge=1e-4, le=1.0,
    )  # fmt: skip
    compression_loss: float = param(
        12.0, unit="1", source="ours", description="k of the preservation xi(eta) = (1 - e^(-k "
        "eta)) / (1 - e^-k); 0 for compression without loss.",
        note="the companion has no loss [notes]", ge=0.0, le=200.0,
    )  # fmt: skip

    # --------------------------------------------------------------------------------------- uplink
    bandwidth_hz: float = param(
        4e6, unit="Hz", source="ours", description="Bandwidth B that all share.",
        note="companion: 1 MHz a link", gt=0.0, le=1e12,
    )  # fmt: skip
    noise_dbm_per_hz: float = param(
        -174.0, unit="dBm/Hz", source="standard", description="Noise density N0.",
        ge=-250.0, le=0.0,
    )  # fmt: skip
    noise_figure_db: float = param(
        9.0, unit="dB", source="standard", description="Noise figure of the receiver.",
        ge=0.0, le=60.0,
    )  # fmt: skip
    gain_1m: float = param(
        1e-4, unit="1", source="notes", description="Power gain beta_0 at 1 m.", gt=0.0, le=1.0
    )
    path_loss_exponent: float = param(
        3.7, unit="1", source="ours", description="Exponent alpha of the distance.",
        note="at the companion's 3 the move towards the station never pays", ge=1.0, le=8.0,
    )  # fmt: skip
    fading: Literal["none", "rayleigh", "rician"] = param(
        "none",
        unit="",
        source="notes",
        description="Block fading of the gain, mean 1: Rayleigh, or Rician with rician_k.",
    )
    rician_k: float = param(
        10.0, unit="1", source="ours", description="Rician factor, linear.", ge=0.0, le=1e6
    )
    shadowing_db: float = param(
        0.0, unit="dB", source="ours", description="Deviation of log-normal shadowing, one draw "
        "for each agent, region and episode.", ge=0.0, le=30.0,
    )  # fmt: skip
    power_min_w: float = param(
        0.01, unit="W", source="ours", description="Least transmit power P_min.", gt=0.0, le=1e3
    )
    power_max_w: float = param(
        0.2, unit="W", source="standard", description="Largest transmit power P_max (23 dBm).",
        note="companion: 1 W", gt=0.0, le=1e3,
    )  # fmt: skip
    circuit_power_w: float = param(
        0.0, unit="W", source="ours", description="Power P_c of the circuits while transmitting.",
        ge=0.0, le=1e3,
    )  # fmt: skip
    pa_efficiency: float = param(
        1.0, unit="1", source="ours", description="Efficiency of the power amplifier: a transmit "
        "power P draws P over it.", gt=0.0, le=1.0,
    )  # fmt: skip
    se_max: float = param(
        0.0, unit="bit/s/Hz", source="ours", description="Cap of the spectral efficiency; 0: none.",
        ge=0.0, le=100.0,
    )  # fmt: skip
    request_min: float = param(
        0.05, unit="1", source="ours", description="Least bandwidth weight w_min; the largest is "
        "1.", gt=0.0, le=1.0,
    )  # fmt: skip
    equal_weight: bool = param(
        False, unit="", source="ours", description="The bandwidth weight is 1 whatever the action."
    )

    # ------------------------------------------------------------------------------- energy, ages
    cycle_energy_j: float = param(
        160.0, unit="J", source="ours", description="Energy budget of a cycle.",
        note="between always at the cheapest and always at the largest speed", gt=0.0, le=1e9,
    )  # fmt: skip
    battery_j: float = param(
        2000.0, unit="J", source="ours", description="Battery of an agent at the start.",
        note="some 13 cycles in 600 s", gt=0.0, le=1e12,
    )  # fmt: skip
    age_range_s: tuple[float, float] = param(
        (0.0, 30.0), unit="s", source="ours", description="Range of the twins' ages at the start."
    )
    deviation: Literal["additive", "ratio", "ou"] = param(
        "additive",
        unit="",
        source="ours",
        description="Deviation D of a twin of age Delta and information I. additive: lambda Delta "
        "+ omega e^-I; ratio: lambda Delta / F; ou: of an Ornstein-Uhlenbeck process.",
        note="additive: error of the remote estimate of a Wiener process, plus what was not seen",
    )
    ou_rate_per_s: float = param(
        0.01, unit="1/s", source="ours", description="Rate theta of deviation ou.",
        ge=1e-4, le=1e3,
    )  # fmt: skip
    overlap_proc_move: bool = param(
        False,
        unit="",
        source="ours",
        description="Processing and the move towards the station run at the same time.",
        note="the reproduction of the companion does it so",
    )
    action_mode: Literal["flat", "hybrid", "discrete"] = param(
        "flat",
        unit="",
        source="ours",
        description="flat: a Box, the region by argmax; hybrid: a region and a Box; discrete: "
        "levels of everything. PettingZoo's views take hybrid unless told otherwise.",
    )

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> Self:
        for name, (least, most) in RANGES.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ValueError(
                    f"{name}={(low, high)!r}: allowed: a pair, low first, of numbers from "
                    f"{least:g} to {most:g}"
                )
        for low_name, high_name in ORDERED:
            low, high = getattr(self, low_name), getattr(self, high_name)
            if not low <= high:
                raise ValueError(f"{low_name}={low!r}: allowed: at most {high_name} ({high!r})")
        if self.cpu_max_range_flops[0] < self.cpu_min_flops:
            raise ValueError(
                f"cpu_max_range_flops={self.cpu_max_range_flops!r}: allowed: from cpu_min_flops "
                f"({self.cpu_min_flops!r})"
            )
        return self

    @property
    def motion(self) -> Motion:
        """What moving costs."""
        if self.platform == "uav":
            return ROTARY_WING
        return PolynomialMotion(
            self.motion_static_w, self.motion_linear_j_per_m, self.motion_quadratic
        )

    @property
    def best_speed_mps(self) -> float:
        """The cheapest speed within the bounds; 5 m/s by default."""
        return min(max(self.motion.best_speed_mps, self.speed_min_mps), self.speed_max_mps)

    @property
    def standing_power_w(self) -> float:
        """Power of being at a place while sensing, processing or transmitting, W."""
        return self.motion.standing_power_w + self.idle_power_w

    @property
    def noise_w_per_hz(self) -> float:
        """n0: noise density with the noise figure, 10^-19.5 W/Hz by default."""
        level_dbm: float = self.noise_dbm_per_hz + self.noise_figure_db
        return math.pow(10.0, (level_dbm - 30.0) / 10.0)

    @property
    def work_slope_flop_per_bit(self) -> float:
        """C_g gamma: work for each raw bit and each factor e of compression."""
        return self.work_gen_flop_per_bit * self.work_gamma

    @property
    def bs_xy_m(self) -> tuple[float, float]:
        """Ground point of the base station: the centre of the map."""
        return 0.5 * self.area_m, 0.5 * self.area_m

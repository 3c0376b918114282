"""Parameters of the RIS-NOMA systems.

None of the default values is known to be the paper's: the body of the paper was not read. Marks:
`standard` is common usage in the literature, `ours` was chosen here (partly while looking at
results of a prototype, so the defaults are a regime that we picked), `related` comes from abstracts
of neighbouring papers, `paper` from the abstract of arXiv 2603.21093.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from sixgym.envs.core.params import Params, param
from sixgym.envs.core.sources import MODEL, check_carrier, check_source, trace_path
from sixgym.envs.ris_noma.recordings import arrival_table

TxMode = Literal["min_power", "fixed_power", "tdma"]
Workload = Literal["log", "linear", "power"]
CpuLaw = Literal["dvfs", "linear"]


class RisNomaBaseParams(Params):
    """What the two RIS-NOMA systems share; see the module docstring for the marks."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "dense": {"num_users": 6, "num_elements": 64},
        "ris_power": {"ris_element_power_w": 1.5e-3},
        "linear_cpu": {"cpu_law": "linear"},
        "no_deferral": {"window_slots": 1},
        "no_ris": {"num_elements": 0},
        "fixed_power": {"tx_mode": "fixed_power"},
        "multi_antenna": {"num_antennas": 4},
    }

    # ------------------------------------------------------------------------------------- sizes
    num_users: int = param(4, unit="1", source="ours", description="Semantic users K.", ge=1, le=16)
    num_elements: int = param(
        32, unit="1", source="ours", description="RIS elements N; 0 is no surface.", ge=0, le=1024
    )
    num_antennas: int = param(
        1,
        unit="1",
        source="ours",
        description="Antennas of the access point M.",
        note="receive beamforming is not among the abstract's variables",
        ge=1,
        le=16,
    )
    horizon_slots: int = param(
        100,
        unit="slot",
        source="ours",
        description="Slots T that normalise time in the observation; the time limit of an episode "
        "is max_episode_steps.",
        ge=1,
        le=1_000_000,
    )
    window_slots: int = param(
        4,
        unit="slot",
        source="ours",
        description="Extraction window W: slots in which arrived data may be extracted; 1 forbids "
        "deferral.",
        ge=1,
        le=32,
    )

    # -------------------------------------------------------------------------------------- slot
    slot_s: float = param(
        0.01, unit="s", source="ours", description="Slot length.", gt=0.0, le=10.0
    )
    compute_share: float = param(
        0.5,
        unit="1",
        source="ours",
        description="Share of the slot in which users compute; they transmit in the rest.",
        note="compute-then-transmit is standard (arXiv 2309.11736), the share is ours",
        ge=0.01,
        le=0.99,
    )
    bandwidth_hz: float = param(
        1e6, unit="Hz", source="standard", description="Bandwidth.", note="as in LODCO", gt=0.0
    )
    noise_power_w: float = param(
        1e-11,
        unit="W",
        source="standard",
        description="Noise power in the band (-80 dBm).",
        note="Wu & Zhang, TWC 2019",
        gt=0.0,
        le=1.0,
    )

    # -------------------------------------------------------------------------------------- radio
    tx_mode: TxMode = param(
        "min_power",
        unit="",
        source="ours",
        description="min_power: the least powers that carry the demands, capped; fixed_power: all "
        "active users send at fixed_power_w for as long as they need; tdma: equal turns alone at "
        "the least power, capped (optimisers and observation still reckon with NOMA).",
    )
    max_power_w: float = param(
        0.2,
        unit="W",
        source="ours",
        description="Transmit power cap in min_power mode (23 dBm handset).",
        gt=0.0,
        le=100.0,
    )
    fixed_power_w: float = param(
        0.1,
        unit="W",
        source="ours",
        description="Transmit power in fixed_power mode.",
        gt=0.0,
        le=100.0,
    )
    amplifier_efficiency: float = param(
        0.8, unit="1", source="ours", description="Efficiency of the amplifier.", ge=0.01, le=1.0
    )
    reference_gain: float = param(
        1e-3,
        unit="1",
        source="standard",
        description="Path gain at 1 m (-30 dB).",
        note="Wu & Zhang, TWC 2019",
        gt=0.0,
        le=1.0,
    )
    exponent_direct: float = param(
        3.5,
        unit="1",
        source="standard",
        description="Path loss exponent, user to access point.",
        note="Wu & Zhang, TWC 2019",
        ge=0.0,
        le=8.0,
    )
    exponent_ris_ap: float = param(
        2.2,
        unit="1",
        source="standard",
        description="Path loss exponent, RIS to access point.",
        note="Wu & Zhang, TWC 2019",
        ge=0.0,
        le=8.0,
    )
    exponent_user_ris: float = param(
        2.2,
        unit="1",
        source="ours",
        description="Path loss exponent, user to RIS: short and mostly line of sight.",
        ge=0.0,
        le=8.0,
    )
    blockage_loss: float = param(
        10.0,
        unit="1",
        source="ours",
        description="Loss of the direct link by blockage (10 dB): gives the RIS a role.",
        ge=1.0,
        le=1e9,
    )
    rician_direct: float = param(
        0.0,
        unit="1",
        source="ours",
        description="Rician factor of the direct link; 0 is Rayleigh.",
        ge=0.0,
        le=1e9,
    )
    rician_user_ris: float = param(
        10.0**0.3,
        unit="1",
        source="ours",
        description="Rician factor of the user-RIS links (3 dB).",
        ge=0.0,
        le=1e9,
    )
    rician_ris_ap: float = param(
        10.0,
        unit="1",
        source="ours",
        description="Rician factor of the RIS-AP links (10 dB).",
        ge=0.0,
        le=1e9,
    )
    carrier_hz: float = param(
        2e9, unit="Hz", source="ours", description="Carrier frequency.", ge=1e6, le=1e13
    )
    fading_correlation: float = param(
        0.95,
        unit="1",
        source="ours",
        description="Correlation of the scattered channel from slot to slot (Doppler 7.2 Hz).",
        ge=0.0,
        le=1.0,
    )
    ris_bits: int = param(
        0,
        unit="bit",
        source="ours",
        description="Resolution of the RIS phases; 0 is continuous.",
        ge=0,
        le=8,
    )
    csi_error: float = param(
        0.0,
        unit="1",
        source="ours",
        description="Standard deviation of the channel estimation error relative to the links' "
        "amplitudes; optimisers and observation see the estimate, physics the truth.",
        ge=0.0,
        le=10.0,
    )

    channel: str = param(
        "model",
        unit="",
        source="ours",
        description="Small-scale fading of the direct links, mean power 1; the surface's links "
        "keep their model. model: Rician; trace:PATH: columns of a file; sionna:KIND: TR 38.901 by "
        "Sionna at carrier_hz, with the Doppler shift that gives fading_correlation; KIND is tdl-a "
        "to tdl-e or umi-drop. See `sixgym.envs.ris_noma.sources`.",
        later=True,
    )

    # ----------------------------------------------------------------------------------- geometry
    ap_height_m: float = param(
        10.0, unit="m", source="ours", description="Height of the access point at x=y=0.", ge=0.0
    )
    ris_x_m: float = param(40.0, unit="m", source="ours", description="RIS position x.")
    ris_y_m: float = param(
        10.0, unit="m", source="ours", description="RIS position y; its panel lies in x and z."
    )
    ris_height_m: float = param(
        10.0, unit="m", source="ours", description="Height of the RIS centre.", ge=0.0
    )
    users_x_m: float = param(
        40.0, unit="m", source="ours", description="Centre x of the disc with the users."
    )
    users_y_m: float = param(
        0.0, unit="m", source="ours", description="Centre y of the disc with the users."
    )
    users_height_m: float = param(
        1.5, unit="m", source="ours", description="Height of the users.", ge=0.0
    )
    users_radius_m: float = param(
        8.0,
        unit="m",
        source="ours",
        description="Radius of the disc; users are uniform in it and stay for the episode.",
        ge=0.0,
        le=1e5,
    )

    # ---------------------------------------------------------------------------------- extraction
    workload: Workload = param(
        "log",
        unit="",
        source="ours",
        description="Cycles per raw bit over cycles_per_bit: log: ln(1/rho), linear: 1-rho, power: "
        "rho^-0.5 - 1, of the extraction factor rho.",
    )
    cycles_per_bit: float = param(
        60.0,
        unit="cycle/bit/nat",
        source="ours",
        description="Load constant c; compute and transmit energy are alike at the optimum.",
        gt=0.0,
        le=1e6,
    )
    cpu_law: CpuLaw = param(
        "dvfs",
        unit="",
        source="standard",
        description="dvfs: lowest sufficient speed, energy kappa C^3 / t^2; linear: energy e0 C.",
        note="kappa f^2 C: Mao et al. LODCO, You & Huang 2017; which law the paper uses is unknown "
        "and decides how large the gain of deferral is",
    )
    switched_capacitance: float = param(
        1e-27,
        unit="J s^2",
        source="standard",
        description="Effective switched capacitance kappa.",
        note="public MEC codes use 1e-27 or 1e-28",
        gt=0.0,
        le=1e-20,
    )
    energy_per_cycle_j: float = param(
        2.5e-10,
        unit="J",
        source="ours",
        description="Energy per cycle e0 of the linear law (kappa f^2 at 0.5 GHz).",
        gt=0.0,
        le=1.0,
    )
    max_cpu_hz: float = param(
        1.5e9,
        unit="Hz",
        source="standard",
        description="Highest processor speed.",
        note="LODCO code",
        gt=0.0,
        le=1e12,
    )
    rho_min: float = param(
        0.2,
        unit="1",
        source="ours",
        description="Smallest extraction factor: semantic bits per raw bit (similarity 0.9).",
        ge=0.01,
        le=1.0,
    )
    quality_weighted: bool = param(
        False,
        unit="",
        source="ours",
        description="Weight delivered bits by the similarity of the slot's factor in reward and "
        "energy efficiency.",
    )

    # -------------------------------------------------------------------------------------- traffic
    arrival_probability: float = param(
        0.5,
        unit="1",
        source="ours",
        description="Probability that a task arrives at a user in a slot.",
        gt=0.0,
        le=1.0,
    )
    min_task_bits: float = param(
        2e4, unit="bit", source="ours", description="Smallest task.", gt=0.0, le=1e9
    )
    max_task_bits: float = param(
        6e4, unit="bit", source="ours", description="Largest task.", gt=0.0, le=1e9
    )
    arrivals: str = param(
        "model",
        unit="",
        source="ours",
        description="Raw bits that arrive: model: tasks as above; trace:PATH: columns of a file, "
        "see `sixgym.envs.ris_noma.sources`; max_task_bits still scales the observation.",
        later=True,
    )
    queue_limit_bits: float = param(
        6e4,
        unit="bit",
        source="ours",
        description="Semantic bits that a user can store; the excess is dropped.",
        gt=0.0,
        le=1e12,
    )

    # -------------------------------------------------------------------------- energy and reward
    circuit_power_w: float = param(
        5e-3, unit="W", source="ours", description="Circuit power of a user.", ge=0.0, le=1e3
    )
    ris_element_power_w: float = param(
        0.0,
        unit="W",
        source="ours",
        description="Static power of a RIS element; 1.5 mW in the preset ris_power.",
        note="grows with N: Huang et al., TWC 2019",
        ge=0.0,
        le=1e3,
    )
    reward: Literal["dinkelbach", "slot_ee"] = param(
        "dinkelbach",
        unit="",
        source="standard",
        description="dinkelbach: bits minus reference_ee times energy minus dropped bits, scaled; "
        "slot_ee: the slot's own energy efficiency.",
        note="Dinkelbach 1967; Neely, renewal optimisation",
    )
    reference_ee: float = param(
        29e6,
        unit="bit/J",
        source="ours",
        description="Price of energy in bits; at the optimal efficiency the reward maximises it.",
        ge=0.0,
        le=1e15,
    )
    drop_weight: float = param(
        1.0, unit="1", source="ours", description="Weight of dropped bits.", ge=0.0, le=1e6
    )

    # --------------------------------------------------------------------- start and observation
    init: Literal["default", "ao"] = param(
        "default",
        unit="",
        source="ours",
        description="First controls: random phases, identity order, rho 0.5, mean volume; or one "
        "alternating optimisation of them.",
    )
    observation: Literal["compact", "full"] = param(
        "compact",
        unit="",
        source="ours",
        description="compact: features per user; full: also every direct and cascaded link.",
    )

    # ----------------------------------------------------------------------------------- optimisers
    order_rule: Literal["auto", "priced"] = param(
        "auto",
        unit="",
        source="ours",
        description="auto: gains descending where that is exact (one antenna, min_power), else a "
        "search; priced: search with capped powers and undelivered bits at 1/reference_ee.",
    )
    ris_iterations: int = param(
        5,
        unit="1",
        source="ours",
        description="Iterations of the surface's optimiser per call, warm-started.",
        ge=1,
        le=1000,
    )
    extraction_sweeps: int = param(
        2,
        unit="1",
        source="ours",
        description="Sweeps over the users in the extraction optimiser; part of the model: two are "
        "not converged.",
        ge=1,
        le=100,
    )
    extraction_bisections: int = param(
        30, unit="1", source="ours", description="Halvings per user and sweep.", ge=1, le=60
    )

    @model_validator(mode="after")
    def _tasks_in_order(self) -> Self:
        if self.max_task_bits < self.min_task_bits:
            raise ValueError(
                f"max_task_bits={self.max_task_bits!r}: allowed: >= min_task_bits "
                f"({self.min_task_bits!r})"
            )
        return self

    @field_validator("channel")
    @classmethod
    def _channel_is_known(cls, value: str) -> str:
        return check_source(value, sionna=True)

    @field_validator("arrivals")
    @classmethod
    def _arrivals_are_known(cls, value: str) -> str:
        return check_source(value)

    @model_validator(mode="after")
    def _direct_link_has_one_source(self) -> Self:
        check_carrier(self.channel, self.carrier_hz)
        if self.channel != MODEL and self.rician_direct > 0.0:
            raise ValueError(
                f"rician_direct={self.rician_direct!r}: without effect with "
                f"channel={self.channel!r}; allowed: 0.0"
            )
        return self

    def files(self) -> dict[str, tuple[str, ...]]:
        """The recordings of channel and traffic."""
        named = {"channel": trace_path(self.channel), "arrivals": trace_path(self.arrivals)}
        return {name: (path,) for name, path in named.items() if path is not None}

    @property
    def mean_arrival_bits(self) -> float:
        """Mean of the bits that arrive at a user in a slot."""
        if self.arrivals != MODEL:
            return float(arrival_table(self)[1].mean())
        return self.arrival_probability * (self.min_task_bits + self.max_task_bits) / 2.0


class RisNomaParams(RisNomaBaseParams):
    """Parameters of `sixgym/RisNoma-v0`."""

    action_mode: Literal["hybrid", "block_param"] = param(
        "hybrid",
        unit="",
        source="ours",
        description="hybrid: all controls in one Box; block_param: a block and the Box, of which "
        "only the block's part is applied.",
    )


class RisNomaSelectParams(RisNomaBaseParams):
    """Parameters of `sixgym/RisNomaSelect-v0`."""

    allow_noop: bool = param(
        False, unit="", source="ours", description="A fourth action that optimises nothing."
    )
    hold: Literal["rate", "queue"] = param(
        "rate",
        unit="",
        source="ours",
        description="What extraction holds when it is not selected: rate: the volume in bits; "
        "queue: only the factor, the volume follows the backlog.",
        note="rate leaves the largest gap between myopic and far-sighted choice",
    )

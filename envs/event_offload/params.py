"""Parameters of the event-offloading systems.

Of the paper (arXiv 2501.02001) only the abstract and the first page were read. Marks: `paper` is in
them; `notes` is said of the paper by third-party reading notes whose equations were not seen;
`related` comes from FREDI (arXiv 2609.15847), which was read; `standard` is common usage; `ours`
was chosen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from sixgym.envs.core.params import Params, param
from sixgym.envs.core.sources import check_source, trace_path
from sixgym.envs.event_offload.scores import Detector, MacProfile, ScoreName, ServerMode, Split

FinalRule = Literal["head", "mid", "tail"] | float
"""What is declared of an event that is undecided at the last exit; a number is a threshold."""
Semantics = Literal["detect_then_offload", "confident_local", "local_only"]
"""Who finishes an event that was declared tail."""
FINAL_RULES = ("head", "mid", "tail")


class EventOffloadBaseParams(Params):
    """What the three event-offloading systems share; see the module docstring for the marks."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "prevalence_02": {"prevalence": 0.2},
        "medical": {"scores": "breast_cancer"},
        "synthetic": {"scores": "gaussian"},
        "shufflenet": {"mac_profile": "shufflenet_v2"},
        "confident_local": {"semantics": "confident_local"},
    }

    # ------------------------------------------------------------------------------------- events
    prevalence: float = param(
        0.1,
        unit="1",
        source="notes",
        description="Probability pi that an event is a tail (rare) event.",
        note="head to tail 9:1, and 4:1 in the preset prevalence_02",
        ge=1e-4,
        le=1.0,
    )
    num_events: int = param(
        20,
        unit="1",
        source="ours",
        description="Events M that arrive in a slot.",
        note="two tail events a slot at 0.1; FREDI has windows of 100",
        ge=1,
        le=1000,
    )
    labels: Literal["iid", "bursty"] = param(
        "iid",
        unit="",
        source="ours",
        description="iid: every event is a tail with probability prevalence; bursty: the "
        "probability follows a hidden chain of two states and `prevalence` is not used.",
        note="bursty gives a sequential agent something that a lookup table cannot exploit",
    )
    calm_prevalence: float = param(
        0.02,
        unit="1",
        source="ours",
        description="Tail probability in the calm state.",
        ge=1e-4,
        le=1.0,
    )
    burst_prevalence: float = param(
        0.30,
        unit="1",
        source="ours",
        description="Tail probability in the burst state.",
        ge=1e-4,
        le=1.0,
    )
    calm_to_burst: float = param(
        0.05,
        unit="1",
        source="ours",
        description="Probability per slot that a burst begins.",
        ge=1e-6,
        le=1.0,
    )
    burst_to_calm: float = param(
        0.10,
        unit="1",
        source="ours",
        description="Probability per slot that a burst ends.",
        ge=1e-6,
        le=1.0,
    )

    # ------------------------------------------------------------------------------------- scores
    scores: ScoreName = param(
        "digits38",
        unit="",
        source="ours",
        description="Where confidences and server answers come from: traces of trained networks "
        "(digits38, digits89, breast_cancer) or a score model (gaussian, logit_normal, beta).",
        note="stand-ins: the paper's retinal images cannot be shipped",
    )
    traces: str | None = param(
        None,
        unit="",
        source="ours",
        description="Path of a trace file of your own, used instead of `scores`; see "
        "`sixgym.envs.event_offload.scores.load_pool` for the format.",
    )
    detector: Detector = param(
        "trained",
        unit="",
        source="ours",
        description="trained: the confidences of the scores; perfect: the device knows which "
        "events are tails, and which of them the server names right.",
        note="perfect is for bounds: no device has it",
    )
    split: Split = param(
        "calib",
        unit="",
        source="ours",
        description="Part of the traces from which events are drawn; reset(options={'split': ...}) "
        "sets it for one episode.",
    )
    pool_events: int = param(
        20_000,
        unit="1",
        source="ours",
        description="Events of each kind that a score model draws once.",
        ge=10,
        le=100_000,
    )
    mac_profile: MacProfile = param(
        "mobilenet_v2",
        unit="",
        source="ours",
        description="Cumulative multiply-accumulates c_n of the exits; trace: those stored with "
        "the scores.",
        note="MobileNetV2 and ShuffleNetV2 are the paper's [notes]; MACs by formula at 224 x 224",
    )

    # ----------------------------------------------------------------------------- detector, server
    semantics: Semantics = param(
        "detect_then_offload",
        unit="",
        source="notes",
        description="detect_then_offload: every declared tail goes to the server; "
        "confident_local: confident tails are closed on the device, undecided events go to the "
        "server; local_only: declared tails are closed on the device, nothing is sent.",
        note="confident_local is the literal reading of the abstract and rule H2T2 "
        "(arXiv 2509.15674); local_only is ours, a baseline",
    )
    final_rule: FinalRule = param(
        "head",
        unit="",
        source="related",
        description="Undecided after the last exit: head, tail, mid (tail above the middle of the "
        "two thresholds), or a number in [0, 1]: tail above it. Without effect in confident_local.",
        note="FREDI equation 2; the paper's own rule is not known",
    )
    server_mode: ServerMode = param(
        "any",
        unit="",
        source="ours",
        description="any: the server may answer head, so a false alarm costs energy but not a "
        "wrong label; tail_only: it may not.",
    )
    energy_per_mac_j: float = param(
        20e-12,
        unit="J",
        source="ours",
        description="Device energy kappa per multiply-accumulate, memory traffic included.",
        note="a full pass of 5.99 mJ is one offload at 17.5 dB",
        ge=0.0,
        le=1e-6,
    )
    device_mac_per_s: float = param(
        20e9,
        unit="1/s",
        source="ours",
        description="Speed of the device in multiply-accumulates per second (full pass 15 ms).",
        gt=0.0,
        le=1e15,
    )

    # ------------------------------------------------------------------------------------- channel
    mean_snr_db: float = param(
        10.0, unit="dB", source="ours", description="Mean received SNR.", ge=-30.0, le=60.0
    )
    fading_correlation: float = param(
        0.0,
        unit="1",
        source="standard",
        description="Correlation rho_h of the complex Rayleigh gain from slot to slot; 0 is "
        "independent blocks.",
        ge=0.0,
        le=1.0,
    )
    channel: str = param(
        "model",
        unit="",
        source="ours",
        description="Fading power of the uplink, mean 1: model: Rayleigh; trace:PATH: columns of a "
        "file; sionna:KIND: TR 38.901 by Sionna over bandwidth_hz at 3.5 GHz, with the Doppler "
        "shift that gives fading_correlation; KIND is tdl-a to tdl-e or umi-drop. See "
        "`sixgym.envs.event_offload.sources`.",
        later=True,
    )
    bandwidth_hz: float = param(
        30e6, unit="Hz", source="notes", description="Uplink bandwidth B.", gt=0.0, le=1e12
    )
    transmit_power_w: float = param(
        1.0, unit="W", source="notes", description="Transmit power (30 dBm).", gt=0.0, le=1e3
    )
    payload_bits: float = param(
        1_048_576.0,
        unit="bit",
        source="related",
        description="Uplink payload D of one offloaded event (128 KiB of features).",
        note="FREDI",
        gt=0.0,
        le=1e12,
    )
    deadline_s: float = param(
        0.1,
        unit="s",
        source="related",
        description="Longest time on air of one offload; below the SNR that meets it is outage.",
        note="FREDI; without it the mean Rayleigh transmit energy is infinite",
        gt=0.0,
        le=1e3,
    )

    # ------------------------------------------------------------------------------ slot and budget
    slot_s: float = param(0.5, unit="s", source="ours", description="Slot length.", gt=0.0, le=1e3)
    horizon_slots: int = param(
        200,
        unit="slot",
        source="ours",
        description="Slots T that normalise time and size the battery; the time limit of an "
        "episode is max_episode_steps.",
        ge=1,
        le=1_000_000,
    )
    budget_j: float = param(
        5e-3,
        unit="J",
        source="ours",
        description="Energy budget xi per event (sweep 4, 5, 6.5, 8, 10 mJ).",
        note="below a full local pass, so early exit is necessary",
        gt=0.0,
        le=1e3,
    )
    max_offload_share: float = param(
        1.0,
        unit="1",
        source="notes",
        description="Constraint p_max on the probability of offloading an event; 1 is none.",
        ge=0.0,
        le=1.0,
    )
    grid_points: int = param(
        201,
        unit="1",
        source="related",
        description="Points of the threshold grid of the tables, uniform on [0, 1].",
        note="FREDI has steps of 0.0025, which is 401 points",
        ge=2,
        le=1001,
    )

    @field_validator("channel")
    @classmethod
    def _channel_is_known(cls, value: str) -> str:
        return check_source(value, sionna=True)

    @field_validator("final_rule", mode="before")
    @classmethod
    def _rule_or_threshold(cls, value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        if value not in FINAL_RULES:
            raise ValueError("neither a rule nor a threshold in [0, 1]")
        return value

    @model_validator(mode="after")
    def _states_in_order(self) -> Self:
        if self.burst_prevalence < self.calm_prevalence:
            raise ValueError(
                f"burst_prevalence={self.burst_prevalence!r}: allowed: >= calm_prevalence "
                f"({self.calm_prevalence!r})"
            )
        return self

    @model_validator(mode="after")
    def _recording_fades_by_itself(self) -> Self:
        if trace_path(self.channel) is not None and self.fading_correlation > 0.0:
            raise ValueError(
                f"fading_correlation={self.fading_correlation!r}: without effect on a recorded "
                "channel; allowed: 0.0"
            )
        return self

    def files(self) -> dict[str, tuple[str, ...]]:
        """The traces of the scores and of the channel that are the user's own."""
        named = {"traces": self.traces, "channel": trace_path(self.channel)}
        return {name: (path,) for name, path in named.items() if path is not None}

    @property
    def burst_share(self) -> float:
        """Stationary probability of the burst state: 1/3 by default."""
        return self.calm_to_burst / (self.calm_to_burst + self.burst_to_calm)

    @property
    def stationary_prevalence(self) -> float:
        """Tail probability pi in the long run: of the chain if labels are bursty (0.1133)."""
        if self.labels == "iid":
            return self.prevalence
        share = self.burst_share
        return share * self.burst_prevalence + (1.0 - share) * self.calm_prevalence

    @property
    def mean_snr(self) -> float:
        """Mean received SNR, linear."""
        return float(10.0 ** (self.mean_snr_db / 10.0))


class EventOffloadParams(EventOffloadBaseParams):
    """Parameters of `sixgym/EventOffload-v0`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **EventOffloadBaseParams.presets,
        "average": {"budget_mode": "average"},
        "battery": {"budget_mode": "battery"},
        "bursty": {"labels": "bursty"},
        "bursty_battery": {"labels": "bursty", "budget_mode": "battery"},
        "correlated": {"fading_correlation": 0.9, "budget_mode": "average"},
    }

    budget_mode: Literal["slot", "average", "battery"] = param(
        "slot",
        unit="",
        source="notes",
        description="slot: the expected energy of the pair meets the budget in every slot; "
        "average: the mean over the episode should (a constrained process, see info['cost']); "
        "battery: the episode's budget is a battery, and ends with it.",
        note="slot matches the paper's table over SNR; the other two are ours",
    )
    hard: bool = param(
        True,
        unit="",
        source="ours",
        description="In budget mode slot, a slot whose pair breaks the constraint earns nothing; "
        "False only reports it.",
        note="without it sending everything is optimal",
    )
    objective: Literal["f_acc", "tpr"] = param(
        "f_acc",
        unit="",
        source="notes",
        description="What the reward counts: tails found and named right, or tails found.",
        note="tpr is FREDI's utility",
    )
    reward: Literal["acc", "lagrangian", "utility"] = param(
        "acc",
        unit="",
        source="ours",
        description="acc: tails counted / (M pi); lagrangian: less energy_price times energy per "
        "event; utility: less weighted false offloads and missed tails per event.",
    )
    energy_price: float = param(
        100.0,
        unit="1/J",
        source="ours",
        description="Price lambda of energy in reward lagrangian.",
        note="measured dual price 95.8 per J at 5 mJ and 10 dB",
        ge=0.0,
        le=1e9,
    )
    false_alarm_weight: float = param(
        1.0,
        unit="1",
        source="ours",
        description="Weight of false offloads in reward utility.",
        ge=0.0,
        le=1e6,
    )
    miss_weight: float = param(
        1.0,
        unit="1",
        source="ours",
        description="Weight of missed tails in reward utility.",
        ge=0.0,
        le=1e6,
    )
    expected: bool = param(
        False,
        unit="",
        source="ours",
        description="Replace sampled events by the tables' expectations at the nearest grid pair.",
    )
    action_mode: Literal["thresholds", "pairs"] = param(
        "thresholds",
        unit="",
        source="ours",
        description="thresholds: two numbers; pairs: one of 64 pairs, (1, 1) and those of the "
        "lookup table at 0.7, 1 and 1.4 budgets and SNRs of -5 to 20 dB.",
    )
    observation: Literal["full", "channel"] = param(
        "full",
        unit="",
        source="ours",
        description="full: all twelve items; channel: the first three, all that matters where "
        "labels are independent and every slot has its budget (a contextual bandit).",
    )
    payload: Literal["fixed", "per_exit"] = param(
        "fixed",
        unit="",
        source="ours",
        description="fixed: payload_bits; per_exit: the 8-bit feature map of the exit at which "
        "the event was declared tail (profiles mobilenet_v2 and shufflenet_v2).",
    )

    @model_validator(mode="after")
    def _payload_has_no_table(self) -> Self:
        if self.payload == "fixed":
            return self
        if self.mac_profile not in FEATURE_MAP_BITS:
            allowed = ", ".join(map(repr, FEATURE_MAP_BITS))
            raise ValueError(
                f"payload='per_exit': needs feature maps; allowed: mac_profile in {allowed}"
            )
        if self.expected or self.budget_mode == "slot":
            raise ValueError(
                "payload='per_exit': not in the tables of expectations; allowed: budget_mode "
                "'average' or 'battery' with expected=False"
            )
        return self


FEATURE_MAP_BITS: dict[str, tuple[float, ...]] = {
    "mobilenet_v2": (602_112.0, 100_352.0, 62_720.0, 501_760.0),
    "shufflenet_v2": (727_552.0, 363_776.0, 181_888.0, 401_408.0),
}
"""Size of the 8-bit feature map at each of four exits: channels x height x width x 8 bit."""

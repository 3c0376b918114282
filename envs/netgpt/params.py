"""Parameters of the NetGPT systems.

Of the paper (arXiv 2511.22217) only the abstract and the opening were read, and the README of its
authors' repository. Marks: `paper` is in these; `notes` is said of the paper by third parties that
read it; `related` comes from another named source; `standard` is common usage; `ours` was chosen
here. No number below is the paper's.

Money is in m$ (thousandths of a US$), so that a price in US$ per million tokens is one in m$ per
thousand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from sixgym.envs.core.params import param
from sixgym.envs.netgpt.learning_params import LearningParams
from sixgym.envs.netgpt.world_params import WorldParams

TOOLS = (
    "select_clients",
    "broadcast_model",
    "local_train",
    "compress_update",
    "aggregate",
    "evaluate",
    "schedule_slot",
    "finish",
)
"""Operations of a federated-learning workflow that a request may call. [our choice, after the
domain of the authors' repository]"""
HISTORY = 3
"""Completed steps of a request: 0, 1 or 2, alike likely. [field `completed_steps`: paper]"""
CASCADE_NOISE, PRE_NOISE = 0.75, 1.5
"""Noise of the score in logits: with a draft to look at, and of the prompt alone. [our choice]"""

COMMON_PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "frozen_good": {"network": "frozen:G"},
    "frozen_medium": {"network": "frozen:M"},
    "frozen_poor": {"network": "frozen:P"},
    "frozen_bad": {"network": "frozen:X"},
    "markov": {"network": "markov"},
    "exact": {"network": "markov", "size_model": "deterministic"},
    "calibrated": {"network": "markov", "size_model": "deterministic", "score_noise": 0.0},
    "difficulty_score": {
        "network": "markov",
        "size_model": "deterministic",
        "score_model": "difficulty",
    },
    "harsh": {
        "network": "markov",
        "regime_transition": (
            (0.95, 0.0, 0.0, 0.05),
            (0.0, 1.0, 0.0, 0.0),
            (0.0, 0.0, 1.0, 0.0),
            (0.05, 0.0, 0.0, 0.95),
        ),
        "regime_start": (0.5, 0.0, 0.0, 0.5),
    },
    "text_only": {"context_bytes": 0.0},
    "tou": {"pricing": "tou"},
    "premium": {"pricing": "premium"},
    "surge": {"pricing": "surge"},
    "pre": {"mode": "pre"},
    "pre_queue": {"mode": "pre", "queue": "fluid"},
    "learning": {"self_improve": True},
    "learning_fast": {"self_improve": True, "learn_scale": 300.0},
    "no_refresh": {"self_improve": True, "refresh_every": 0},
    "no_anchor": {"self_improve": True, "anchor": False},
}
"""Presets of all three systems; `exact` is the setting of the dossier's exact values."""


class NetGptBaseParams(LearningParams, WorldParams):
    """What the three NetGPT systems share; see the module docstring for the marks."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = COMMON_PRESETS

    # ------------------------------------------------------------------------------- latency, price
    mode: Literal["cascade", "pre"] = param(
        "cascade",
        unit="",
        source="paper",
        description="cascade: the edge drafts and scores every request, the cloud is a fallback; "
        "pre: the score sees the prompt only, and an offloaded request skips the edge.",
        note="the authors' router data has the draft in it, so cascade; pre is for comparison",
    )
    edge_prefill_tok_s: float = param(
        10_000.0,
        unit="token/s",
        source="ours",
        description="Prompt tokens per second at the edge.",
        note="7B model; 12 355 and 1 777 on Jetson AGX Thor [related: TensorRT Edge-LLM]",
        gt=0.0,
        le=1e9,
    )
    edge_decode_tok_s: float = param(
        80.0,
        unit="token/s",
        source="ours",
        description="Output tokens per second at the edge.",
        note="54.9 and 50.8 on Jetson AGX Thor [related: TensorRT Edge-LLM]",
        gt=0.0,
        le=1e9,
    )
    score_time_s: float = param(0.05, unit="s", source="ours", description="Time t_score of the "
        "scorer.", ge=0.0, le=100.0)  # fmt: skip
    edge_rate: float = param(
        2.5,
        unit="request/s",
        source="ours",
        description="Requests mu_E per second of a full batch at the edge.",
        note="3.2 by the published rates at batch 8 [related], less for the scorer",
        gt=0.0,
        le=1e6,
    )
    edge_price: float = param(
        0.005,
        unit="m$",
        source="ours",
        description="Price P_e of a request at the edge (energy).",
        note="about 100 W for 0.9 s at 0.12 $/kWh is 0.003",
        ge=0.0,
        le=1000.0,
    )
    bytes_per_token: float = param(4.0, unit="B/token", source="standard", description="Bytes of "
        "text per token.", ge=0.0, le=1000.0)  # fmt: skip
    upload_overhead_bytes: float = param(4000.0, unit="B", source="standard", description="Headers "
        "H of the upload.", ge=0.0, le=1e9)  # fmt: skip
    download_overhead_bytes: float = param(1000.0, unit="B", source="standard",
        description="Headers H of the download.", ge=0.0, le=1e9)  # fmt: skip
    rtt_rounds: float = param(
        3.0,
        unit="1",
        source="standard",
        description="Round trips kappa_R of a cloud request.",
        note="TCP 1, TLS 1.3 1, request 1",
        ge=0.0,
        le=100.0,
    )
    cloud_base_s: float = param(
        0.6,
        unit="s",
        source="ours",
        description="Time T_c0 of the cloud to its first token.",
        note="measured services of DeepSeek-V3.2: under 1 s to 2.9 s [related]",
        ge=0.0,
        le=1000.0,
    )
    cloud_decode_tok_s: float = param(
        60.0,
        unit="token/s",
        source="ours",
        description="Output tokens per second of the cloud.",
        note="14.5 to 230 measured of DeepSeek-V3.2 [related]",
        gt=0.0,
        le=1e9,
    )
    share_uplink: bool = param(
        False,
        unit="",
        source="ours",
        description="The requests offloaded in a slot share the bandwidth equally.",
    )
    queue: Literal["off", "fluid", "mm1"] = param(
        "off",
        unit="",
        source="ours",
        description="Waiting at the edge: none; a fluid backlog; the stationary M/M/1 wait.",
    )

    # -------------------------------------------------------------------------------------- quality
    edge_slope: float = param(
        8.0,
        unit="1",
        source="ours",
        description="Slope a of the edge's success sigma(a (skill - d)) given a valid call.",
        note="a logistic item-response curve",
        gt=0.0,
        le=1000.0,
    )
    skill0: float = param(
        0.55,
        unit="1",
        source="ours",
        description="Skill kappa_0 of the edge at first: the d at which it is right half the time.",
        note="success 0.668 with the schema",
        ge=-2.0,
        le=3.0,
    )
    schema_edge: float = param(0.96, unit="1", source="ours", description="Probability that an "
        "edge draft is schema-valid, at first.", ge=0.0, le=1.0)  # fmt: skip
    schema_cloud: float = param(0.995, unit="1", source="ours", description="The same of a cloud "
        "answer.", ge=0.0, le=1.0)  # fmt: skip
    cloud_acc: float = param(0.95, unit="1", source="ours", description="Success c_0 of the cloud "
        "given a valid call, at d = 0.", ge=0.0, le=1.0)  # fmt: skip
    cloud_slope: float = param(0.0, unit="1", source="ours", description="Its loss c_1 with d; "
        "clip(c_0 - c_1 d, 0, 1).", ge=0.0, le=100.0)  # fmt: skip

    # --------------------------------------------------------------------------------------- scores
    score_model: Literal["noisy", "difficulty"] = param(
        "noisy",
        unit="",
        source="ours",
        description="noisy: sigma(a (skill_rm - d) + bias + noise), the scorer's belief of the "
        "edge's success; difficulty: 1 - d, whatever the skill, and no schema gate.",
    )
    score_noise: float | None = param(
        None,
        unit="1",
        source="ours",
        description="Standard deviation sigma_s of the score in logits; None: 0.75 in mode cascade "
        "(sees the draft), 1.5 in mode pre.",
        ge=0.0,
        le=100.0,
    )
    schema_gate: bool = param(
        True,
        unit="",
        source="ours",
        description="An invalid draft scores 0 (mode cascade).",
        note="the validator is free and never errs",
    )
    explore_eps: float = param(
        0.0,
        unit="1",
        source="ours",
        description="Probability that a request is offloaded whatever the action, for unbiased "
        "labels (0.02 is usual).",
        ge=0.0,
        le=1.0,
    )

    # -------------------------------------------------------------------------------------- utility
    value: float = param(1.0, unit="1", source="ours", description="Value V of a success.",
        ge=0.0, le=1e6)  # fmt: skip
    w_latency: float = param(
        0.08,
        unit="1/s",
        source="ours",
        description="Weight lambda_L of latency.",
        note="makes latency, price and quality of one order",
        ge=0.0,
        le=1e6,
    )
    w_price: float = param(0.4, unit="1/m$", source="ours", description="Weight lambda_P of price.",
        ge=0.0, le=1e6)  # fmt: skip
    w_schema: float = param(0.0, unit="1", source="ours", description="Weight lambda_Z of an "
        "answer that is not schema-valid.", ge=0.0, le=1e6)  # fmt: skip
    w_sla: float = param(0.0, unit="1", source="ours", description="Weight lambda_S of a latency "
        "above sla_s.", ge=0.0, le=1e6)  # fmt: skip
    sla_s: float = param(5.0, unit="s", source="ours", description="Latency of the service level "
        "agreement.", ge=0.0, le=1e6)  # fmt: skip
    reward_mode: Literal["sampled", "expected", "vector"] = param(
        "sampled",
        unit="",
        source="ours",
        description="sampled: mean utility of the slot's requests; expected: with success (and the "
        "cloud's validity) replaced by its probability, for low variance; vector: sampled, and "
        "the single environment hands out (quality, -latency, -price, schema) as MO-Gymnasium "
        "has it.",
    )

    # ---------------------------------------------------------------------------------- observation
    observe_kappa: bool = param(
        False,
        unit="",
        source="ours",
        description="Append the hidden skill and the scorer's to the observation.",
    )
    obs_noise: float = param(
        0.0,
        unit="1",
        source="ours",
        description="Standard deviation sigma_obs of the logarithms of the observed bandwidth and "
        "RTT.",
        ge=0.0,
        le=3.0,
    )

    @property
    def sigma_s(self) -> float:
        """Noise of the score in logits, of the mode where none is given."""
        if self.score_model == "difficulty":
            return 0.0
        if self.score_noise is not None:
            return self.score_noise
        return CASCADE_NOISE if self.mode == "cascade" else PRE_NOISE

    @property
    def has_gate(self) -> bool:
        """Whether an invalid draft scores 0."""
        return self.schema_gate and self.mode == "cascade" and self.score_model == "noisy"

    @property
    def cloud_success(self) -> float:
        """Success p_c of the cloud where it does not depend on d: 0.94525 by default."""
        return self.schema_cloud * self.cloud_acc


class NetGptThresholdParams(NetGptBaseParams):
    """Parameters of `sixgym/NetGptThreshold-v0`."""

    obs_level: Literal["full", "network"] = param(
        "full",
        unit="",
        source="ours",
        description="full: all 16 rows; network: the first four (bandwidth, RTT, price multiplier, "
        "price), all that a function of the network state needs.",
    )


class NetGptRouteParams(NetGptBaseParams):
    """Parameters of `sixgym/NetGptRoute-v0`: one request a step.

    A step is request n mod K of slot n // K, so arrivals are fixed, and what depends on the other
    requests of the slot is not known yet: the uplink is not shared.
    """

    @model_validator(mode="after")
    def _one_request_at_a_time(self) -> Self:
        for name, only in (("share_uplink", False), ("arrivals", "fixed")):
            if getattr(self, name) != only:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: a step is one request of a slot of "
                    f"num_requests; allowed: {only!r}"
                )
        return self


class NetGptBatchParams(NetGptBaseParams):
    """Parameters of `sixgym/NetGptBatch-v0`: all requests of a slot, on a shared uplink."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **COMMON_PRESETS,
        "own_uplink": {"share_uplink": False},
    }

    share_uplink: bool = param(
        True,
        unit="",
        source="ours",
        description="The requests offloaded in a slot share the bandwidth equally.",
    )

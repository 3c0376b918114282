"""How the edge agent and its scorer improve: parameters of self-improvement.

Marks as in `sixgym.envs.netgpt.params`.
"""

from __future__ import annotations

import math
from typing import Literal

from sixgym.envs.core.params import Params, param


class LearningParams(Params):
    """Buffer, cadence, skill, scorer and drift; nothing here matters without `self_improve`."""

    self_improve: bool = param(
        False,
        unit="",
        source="paper",
        description="Whether the edge agent learns from the cloud's answers.",
        note="its dynamic in numbers is our choice",
    )
    skill_inf: float = param(
        0.80, unit="1", source="ours", description="Skill kappa_inf with unlimited data (success "
        "0.870 with the schema).", ge=-2.0, le=3.0,
    )  # fmt: skip
    learn_scale: float = param(
        1500.0, unit="1", source="ours", description="Samples N_0 of the learning curve.",
        gt=0.0, le=1e9,
    )  # fmt: skip
    learn_exp: float = param(
        0.5,
        unit="1",
        source="ours",
        description="Exponent beta of the learning curve "
        "skill_inf - (skill_inf - skill0) (1 + N / N_0)^-beta.",
        note="the error of fine-tuning follows a power law of the data [related]",
        ge=0.0,
        le=10.0,
    )
    weighting: Literal["uniform", "variance"] = param(
        "uniform",
        unit="",
        source="ours",
        description="Gain of a kept sample: uniform: 1 if the cloud is right; variance: that times "
        "4 p (1 - p), p the edge's success given a valid call.",
    )
    buffer_capacity: int = param(
        50_000, unit="1", source="ours", description="Samples that the buffer holds, oldest out; "
        "what was learned stays.", ge=1, le=10**9,
    )  # fmt: skip
    update_period: int = param(
        25,
        unit="slot",
        source="ours",
        description="The edge agent is updated at multiples U of this many slots.",
        note="joint periodic updates [paper], the period is our choice",
        ge=1,
        le=1_000_000,
    )
    update_samples: int = param(
        64, unit="1", source="ours", description="New kept samples N_upd without which an update "
        "waits for the next multiple.", ge=1, le=10**9,
    )  # fmt: skip
    refresh_every: int = param(
        2,
        unit="1",
        source="ours",
        description="The scorer is refitted at every M-th update; 0 is never.",
        note="periodic refreshes of the reward model [notes]",
        ge=0,
        le=1_000_000,
    )
    refresh_bias: float = param(
        0.1, unit="1", source="ours", description="Standard deviation of the scorer's bias after "
        "a refit, in logits.", ge=0.0, le=10.0,
    )  # fmt: skip
    train_share: float = param(
        0.3, unit="1", source="ours", description="Share u of the edge's compute that an update "
        "takes.", ge=0.0, le=0.95,
    )  # fmt: skip
    train_slots: int = param(
        2, unit="slot", source="ours", description="Slots that an update takes.", ge=0, le=1000,
    )  # fmt: skip
    anchor: bool = param(
        True,
        unit="",
        source="paper",
        description="Whether updates are anchored to the supervised prior, so that drift is "
        "bounded.",
        note="SFT-anchored; what it does here is a caricature of ours",
    )
    drift_step: float = param(
        0.25, unit="nat", source="ours", description="Drift eta_D that an update adds.",
        ge=0.0, le=100.0,
    )  # fmt: skip
    drift_pull: float = param(
        0.25, unit="1", source="ours", description="Share rho of the drift that the anchor takes "
        "back at an update.", gt=0.0, le=1.0,
    )  # fmt: skip
    drift_free: float = param(
        1.0, unit="nat", source="ours", description="Drift D_0 up to which the schema suffers not.",
        ge=0.0, le=100.0,
    )  # fmt: skip
    drift_schema: float = param(
        0.02, unit="1/nat", source="ours", description="Validity zeta lost per drift beyond D_0.",
        ge=0.0, le=10.0,
    )  # fmt: skip
    schema_edge_max: float = param(
        0.995, unit="1", source="ours", description="Validity of drafts that updates approach.",
        ge=0.0, le=1.0,
    )  # fmt: skip
    schema_updates: float = param(
        4.0, unit="1", source="ours", description="Updates in which the distance to it falls by "
        "the factor e.", gt=0.0, le=1e6,
    )  # fmt: skip

    @property
    def drift_limit(self) -> float:
        """Drift that anchored updates approach, nat: 1.0 by default; infinite without anchor."""
        return self.drift_step / self.drift_pull if self.anchor else math.inf

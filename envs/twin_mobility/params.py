"""Parameters of `sixgym/TwinSync-v0`.

Marks as in `sixgym.envs.twin_mobility.base_params`, which holds what the two share.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from sixgym.envs.core.params import param
from sixgym.envs.twin_mobility.base_params import TwinBaseParams

__all__ = ["TwinBaseParams", "TwinSyncParams"]


class TwinSyncParams(TwinBaseParams):
    """Parameters of `sixgym/TwinSync-v0`."""

    slot_s: float = param(
        1.0, unit="s", source="ours", description="Length delta of a slot.", gt=0.0, le=1e3
    )
    horizon_slots: int = param(
        600, unit="1", source="ours", description="Slots K of an episode, for the clock that is "
        "observed and the closing payment; the registered time limit.", ge=1, le=10**6,
    )  # fmt: skip
    bw_mode: Literal["request", "equal", "minmax"] = param(
        "request",
        unit="",
        source="ours",
        description="Bandwidth of those who transmit in a slot. request: by their weights; equal; "
        "minmax: the station equalises the remaining transmit times.",
    )
    coop_mode: Literal["fusion", "barrier"] = param(
        "fusion",
        unit="",
        source="ours",
        description="barrier: who has arrived begins to sense when nobody is still on the way to "
        "the same region, checked at slot starts.",
    )
    twin_mode: Literal["analytic", "sampled"] = param(
        "analytic",
        unit="",
        source="ours",
        description="sampled: also simulates the physical process and its twin, whose mean square "
        "error is the deviation; the reward stays analytic.",
    )
    buffer_packets: int = param(
        16, unit="1", source="ours", description="Packets M that the station keeps of a region: "
        "those with the newest time stamps.", ge=1, le=64,
    )  # fmt: skip
    mask_in_obs: bool = param(
        False,
        unit="",
        source="ours",
        description="An agent's observation is a dictionary with its masks.",
    )
    observe_others: bool = param(
        True, unit="", source="ours", description="Agents see each other's place, stage, target "
        "and battery."
    )  # fmt: skip
    obs_noise_age: bool = param(
        False,
        unit="",
        source="ours",
        description="Agents know the regions' ages and deviations as of their own last delivery "
        "(or the start) only.",
    )
    reward_mode: Literal["team", "credit", "max_only"] = param(
        "team",
        unit="",
        source="ours",
        description="team: all are paid the same; credit: whose packet, as it is delivered, is "
        "part of an update is also paid its share of the information times the decrease of the "
        "deviation; max_only: the largest deviation alone.",
    )
    mean_weight: float = param(
        0.1, unit="1", source="ours", description="Weight w_m of the mean deviation beside the "
        "largest.", ge=0.0, le=1.0,
    )  # fmt: skip
    energy_weight: float = param(
        0.02, unit="1", source="ours", description="Weight w_E of the energy.", ge=0.0, le=1e3
    )
    energy_ref_j: float = param(
        5.0, unit="J", source="ours", description="Energy e_ref of an agent and slot that weighs "
        "1.", gt=0.0, le=1e9,
    )  # fmt: skip
    cycle_weight: float = param(
        0.1, unit="1", source="ours", description="Weight w_cyc of the excess over the energy "
        "budget of a cycle.", ge=0.0, le=1e3,
    )  # fmt: skip
    shaping_weight: float = param(
        0.0, unit="1", source="ours", description="Weight w_Phi of the potential-based shaping.",
        note="policy-invariant [standard: Ng, Harada, Russell, ICML 1999]", ge=0.0, le=1e3,
    )  # fmt: skip
    shaping_discount: float = param(
        0.995, unit="1", source="ours", description="Discount gamma of the shaping; the learner's.",
        ge=0.0, le=1.0,
    )  # fmt: skip
    credit_weight: float = param(
        0.2, unit="1", source="ours", description="Weight w_c of the credit.", ge=0.0, le=1e3
    )
    deviation_ref: float = param(
        2.0, unit="1", source="ours", description="Deviation D_ref that weighs 1 in reward and "
        "observation.", gt=0.0, le=1e6,
    )  # fmt: skip
    death_mode: Literal["masked", "remove"] = param(
        "masked",
        unit="",
        source="ours",
        description="masked: an agent with an empty battery stays, without moves, and is paid as "
        "the others; remove: it is paid at once what is still to come if nobody moved, and leaves.",
        note="rewards are negative: leaving unpaid would reward dying",
    )
    recharge_w: float = param(
        0.0, unit="W", source="ours", description="Charging power of an idle agent near the "
        "station.", ge=0.0, le=1e6,
    )  # fmt: skip
    recharge_radius_m: float = param(
        20.0, unit="m", source="ours", description="How near, on the ground.", ge=0.0, le=1e5
    )

    @model_validator(mode="after")
    def _sampled_is_additive(self) -> Self:
        if self.twin_mode == "sampled" and self.deviation != "additive":
            raise ValueError(
                f"twin_mode={self.twin_mode!r}: allowed with deviation='additive' (the mean square "
                "error of a Wiener process)"
            )
        return self

"""Parameters of `sixgym/EventOffloadExit-v0`; marks as in `sixgym.envs.event_offload.params`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from sixgym.envs.core.params import param
from sixgym.envs.event_offload.params import EventOffloadBaseParams


class EventOffloadExitParams(EventOffloadBaseParams):
    """Parameters of `sixgym/EventOffloadExit-v0`.

    The agent is the decision rule, so that ``semantics`` and ``final_rule`` cannot be changed;
    ``grid_points`` and ``max_offload_share`` serve the tables of the reference policies only.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "prevalence_02": {"prevalence": 0.2},
        "medical": {"scores": "breast_cancer"},
        "synthetic": {"scores": "gaussian"},
        "shufflenet": {"mac_profile": "shufflenet_v2"},
        "battery": {"budget_mode": "battery"},
        "bursty": {"labels": "bursty"},
        "bursty_battery": {"labels": "bursty", "budget_mode": "battery"},
        "one_snr": {"fading": "none"},
    }

    fading: Literal["rayleigh", "none"] = param(
        "rayleigh",
        unit="",
        source="standard",
        description="rayleigh: block fading; none: the SNR is always its mean, as in the dynamic "
        "programme of the reference policy.",
    )
    budget_mode: Literal["average", "battery"] = param(
        "average",
        unit="",
        source="ours",
        description="average: the mean energy over the episode should meet the budget (see "
        "info['cost'] and energy_price); battery: the episode's budget is a battery, and the "
        "episode ends with it.",
        note="a constraint per slot is stated of thresholds, which are not acted here",
    )
    objective: Literal["f_acc", "tpr"] = param(
        "f_acc",
        unit="",
        source="notes",
        description="What an offload earns for: a tail that the server names right, or any tail.",
        note="tpr is FREDI's utility",
    )
    energy_price: float = param(
        100.0,
        unit="1/J",
        source="ours",
        description="Price lambda of energy in the reward.",
        note="measured dual price 95.8 per J at 5 mJ and 10 dB",
        ge=0.0,
        le=1e9,
    )

    @model_validator(mode="after")
    def _rule_is_the_agents(self) -> Self:
        for name, only in (("semantics", "detect_then_offload"), ("final_rule", "head")):
            if getattr(self, name) != only:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: the agent decides at every exit; "
                    f"allowed: {only!r}"
                )
        if self.fading == "none" and self.channel != "model":
            raise ValueError(f"fading='none': allowed with channel={self.channel!r}: 'rayleigh'")
        return self

"""Parameters of `sixgym/TwinRound-v0`.

Marks as in `sixgym.envs.twin_mobility.base_params`, which holds what it shares with
`sixgym/TwinSync-v0`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from sixgym.envs.core.params import param
from sixgym.envs.twin_mobility.base_params import COMMON_PRESETS, TwinBaseParams

ROUND_S = 30.0
"""Time that a round is reckoned to take where no horizon is set: 20 rounds take 600 s. [ours]"""


class TwinRoundParams(TwinBaseParams):
    """Parameters of `sixgym/TwinRound-v0`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **COMMON_PRESETS,
        "rounds": {"num_rounds": 20},
        "rounds_score": {"num_rounds": 20, "round_reward": "score"},
    }

    num_rounds: int = param(
        1, unit="1", source="ours", description="Rounds of an episode; 1 is the one-shot problem.",
        note="the paper poses the problem of one synchronisation", ge=1, le=10**6,
    )  # fmt: skip
    horizon_s: float | None = param(
        None, unit="s", source="ours", description="Time after which no further round begins. "
        "None: with round_reward integral 30 s for each of the rounds, with score no limit.",
        gt=0.0, le=1e9,
    )  # fmt: skip
    round_min_s: float = param(
        10.0, unit="s", source="ours", description="Least length of a round.", gt=0.0, le=1e6
    )
    miss_penalty: float = param(
        13.0, unit="1", source="ours", description="What the score of a region grows by if it is "
        "not refreshed.", note="no miss may beat a plan of at most 180 s", ge=0.0, le=1e6,
    )  # fmt: skip
    round_reward: Literal["score", "integral"] | None = param(
        None,
        unit="",
        source="ours",
        description="score: minus the largest score of a region; integral: minus the time integral "
        "of the largest deviation over age_ref_s. None: score with one round, else integral.",
    )
    hard_energy: bool | None = param(
        None,
        unit="",
        source="ours",
        description="An agent that exceeds the energy budget of the cycle delivers nothing. None: "
        "true with one round, else false.",
    )
    age_ref_s: float = param(
        60.0, unit="s", source="ours", description="Time T_ref that weighs 1 in reward and "
        "observation.", gt=0.0, le=1e6,
    )  # fmt: skip
    deviation_ref: float = param(
        2.0, unit="1", source="ours", description="Deviation D_ref that is observed as 1.",
        gt=0.0, le=1e6,
    )  # fmt: skip
    observe_others: bool = param(
        True, unit="", source="ours", description="Agents see each other's place, battery and "
        "abilities."
    )  # fmt: skip

    @property
    def pays_integral(self) -> bool:
        """Whether the reward is the time integral."""
        default = "score" if self.num_rounds == 1 else "integral"
        return (self.round_reward or default) == "integral"

    @property
    def is_hard(self) -> bool:
        """Whether an agent that exceeds the budget of the cycle delivers nothing."""
        return self.num_rounds == 1 if self.hard_energy is None else self.hard_energy

    @property
    def limit_s(self) -> float | None:
        """Time after which no further round begins; None without a limit."""
        if self.horizon_s is None and self.pays_integral:
            return ROUND_S * self.num_rounds
        return self.horizon_s

    @property
    def clock_s(self) -> float:
        """Time that is observed as 1."""
        return self.limit_s or ROUND_S * self.num_rounds

"""Weights of the reward: named presets of the team's reward, and of what each side wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

RewardName = Literal["llm4mac", "llm4mac_early", "mota"]
Mode = Literal["team", "mfsg", "selfish"]


class Weights(NamedTuple):
    """Weights of the slot's events in the team reward, each times rho."""

    rho: float
    new: float
    dup: float
    idle: float
    col: float
    era: float
    cd: float
    wd: float


class Terms(NamedTuple):
    """What leader and followers are paid beside it; all but ``alpha`` times rho."""

    alpha: float
    kappa: float
    ucm: float
    grant: float
    ack: float
    fairness: float


REWARDS: Mapping[str, Weights] = {
    "llm4mac": Weights(rho=1.5, new=3.0, dup=0.0, idle=1.0, col=1.0, era=1.0, cd=1.0, wd=1.0),
    "llm4mac_early": Weights(3.0, 2.0, -1.0, 1.0, 1.0 / 3.0, 1.0 / 3.0, 1.0, 1.0),
    "mota": Weights(3.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
}
"""Weights by preset [related: all four last revisions of the LLM4MAC code; an earlier text-policy
script; Mota]. The code leaves the reward of an erasure at the value of the slot before; here it is
that of a collision. Of ``mota``, whose reward is a rule and no sum, only rho and new are used."""

MODES: Mapping[str, Terms] = {
    "team": Terms(alpha=1.0, kappa=0.0, ucm=0.0, grant=0.0, ack=0.0, fairness=0.0),
    "mfsg": Terms(alpha=1.0, kappa=0.0, ucm=0.05, grant=0.1, ack=0.0, fairness=1.0),
    "selfish": Terms(alpha=0.0, kappa=5.0, ucm=0.0, grant=0.1, ack=0.0, fairness=0.0),
}
"""What leader and followers want [our choice; team is LLM4MAC's]. kappa exceeds new + cd, which
makes sending without a grant strictly dominated."""

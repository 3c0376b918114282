"""The learning edge in the fluid limit: means instead of draws, all network states at once (4.1).

Every slot the offloaded share adds ``K O p_c`` effective samples; on the cadence the edge's skill
jumps to the learning curve at what was collected, and the scorer is refitted every few updates.
[derived]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.netgpt.law import ScoreLaw
from sixgym.baselines.netgpt.laws import score_law
from sixgym.baselines.netgpt.model import Model

Floats = NDArray[np.float64]
Rule = Callable[[ScoreLaw, Floats], Floats]
"""Thresholds by network state, from what the router believes of the score and from omega."""

WINDOW = 25
"""Slots that the first and last means are taken over. [our choice: 4.1]"""


@dataclass(frozen=True)
class Cadence:
    """When edge and scorer are updated.

    [our choice: 4.1]

    Attributes:
        slots: of an episode.
        update_slots: U, slots from one chance of an update to the next.
        least_samples: N_upd, new kept samples that an update needs.
        refresh_every: M, updates from one refit of the scorer to the next; 0: never.
        is_learning: False: the edge stays as it is.
    """

    slots: int = 400
    update_slots: int = 25
    least_samples: float = 64.0
    refresh_every: int = 2
    is_learning: bool = True


@dataclass(frozen=True)
class Trajectory:
    """A fluid episode; every vector is (slots,).

    Attributes:
        offload: share of requests sent.
        quality: share of right answers.
        utility: of a request.
        skill: kappa in force.
        skill_rm: kappa of the last refit.
        samples: N after the last slot.
    """

    offload: Floats
    quality: Floats
    utility: Floats
    skill: Floats
    skill_rm: Floats
    samples: float

    def ends(self, name: str) -> tuple[float, float]:
        """Mean of a vector over the first and the last `WINDOW` slots."""
        values = getattr(self, name)
        return float(values[:WINDOW].mean()), float(values[-WINDOW:].mean())


def fixed_rule(tau: float) -> Rule:
    """The same threshold always."""
    return lambda belief, omega: np.full(np.shape(omega), tau)


def stale_rule(belief: ScoreLaw, omega: Floats) -> Floats:
    """ExactStale: the optimum for what the router believes, that the scorer is fresh."""
    return belief.threshold(omega)


def fluid_trajectory(
    model: Model, rule: Rule, omega: Floats, chance: Floats, cadence: Cadence | None = None
) -> Trajectory:
    """Play a rule in the fluid limit, with the schema rates fixed and an unbiased scorer.

    Args:
        model: the constants.
        rule: of thresholds; it is told a law in which the skill is that of the last refit.
        omega: (states,) extra costs.
        chance: (states,) probabilities of the network states, the same in every slot.
        cadence: of updates; None: the defaults.
    """
    when = Cadence() if cadence is None else cadence
    skill = skill_rm = model.skill0
    samples = kept = 0.0
    updates = 0
    rows = np.empty((when.slots, 5))
    law, tau = _act(model, rule, omega, skill, skill_rm)
    for slot in range(when.slots):
        rates = law.rates(tau)
        share = float(chance @ rates.offload)
        value = float(chance @ law.utility(tau, omega))
        rows[slot] = share, float(chance @ rates.quality), value, skill, skill_rm
        samples += model.requests * share * model.cloud_success
        kept += model.requests * share * model.schema_cloud
        is_due = (slot + 1) % when.update_slots == 0 and kept >= when.least_samples
        if is_due and when.is_learning:
            kept, updates = 0.0, updates + 1
            skill = float(model.skill(samples))
            if when.refresh_every and updates % when.refresh_every == 0:
                skill_rm = skill
            law, tau = _act(model, rule, omega, skill, skill_rm)
    offload, quality, utility, skills, refits = rows.T
    return Trajectory(offload, quality, utility, skills, refits, samples)


def _act(
    model: Model, rule: Rule, omega: Floats, skill: float, skill_rm: float
) -> tuple[ScoreLaw, Floats]:
    """The law in force, and the thresholds of the rule."""
    belief = score_law(model, skill_rm)
    return score_law(model, skill, skill_rm), rule(belief, omega)

"""Delta of many rows at once, each with a skill and a scorer of its own: tables.

Given m = logit s - a kappa_rm - b_rm, which is -a d plus noise, the difficulty does not depend on
the scorer. So the posterior is tabled once over m, and the edge's success over m and kappa.
[derived: 3.4 (d)]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from sixgym.baselines.netgpt.law import GATE, GRID_POINTS, ScoreLaw
from sixgym.baselines.netgpt.laws import LEAST_NOISE, DifficultyLaw, ExactLaw, NoisyLaw
from sixgym.baselines.netgpt.model import Model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SKILLS = 65
"""Of the grid of kappa: its error in a threshold is below 1e-4. [our choice]"""
TAIL = 7.0
"""Standard deviations of noise that the grid of m goes beyond the support. [our choice]"""


class Minds:
    """Edge and scorer of each row.

    Args:
        kappa: (rows,) skill.
        kappa_rm: (rows,) skill of the last refit.
        bias: (rows,) of the scorer.
        schema: (rows,) probability of a valid draft.
    """

    def __init__(self, kappa: Floats, kappa_rm: Floats, bias: Floats, schema: Floats) -> None:
        self.kappa, self.kappa_rm, self.bias, self.schema = kappa, kappa_rm, bias, schema

    def as_believed(self) -> Minds:
        """What a real router knows: the scorer is taken as fresh and unbiased."""
        return Minds(self.kappa_rm, self.kappa_rm, np.zeros_like(self.bias), self.schema)


class Belief:
    """Tables of a model over all skills between two.

    Args:
        model: the constants.
        skills: ends of the range of kappa.
        of_difficulty: the score is 1 - d.
    """

    def __init__(self, model: Model, skills: tuple[float, float], *, of_difficulty: bool) -> None:
        self.model = model
        self._of_difficulty = of_difficulty
        self._is_gated = model.is_gated and not of_difficulty
        low, high = min(skills), max(skills)
        self._skills = np.linspace(low, high, SKILLS if high > low else 1)
        a = model.edge_slope
        is_sharp = of_difficulty or model.score_noise < LEAST_NOISE
        spread = 0.0 if is_sharp else TAIL * model.score_noise
        # One ulp inside, so that no score is at the very end of the support.
        inside = 1e-9 * a if is_sharp else 0.0
        self._m = np.linspace(-a - spread + inside, spread - inside, GRID_POINTS)
        law = self._law_at_no_skill(is_sharp=is_sharp)
        score = 1.0 + self._m / a if of_difficulty else expit(self._m)
        self._edge = law.edge_by_skill(score, self._skills)
        self._cloud = law.successes(score)[1]
        self._share = law.below(score).share
        self._invalid_worth = law.total[1]

    def _law_at_no_skill(self, *, is_sharp: bool) -> ScoreLaw:
        """With a scorer at skill 0 and no bias the logit of a score is m itself."""
        if self._of_difficulty:
            return DifficultyLaw(self.model)
        return (ExactLaw if is_sharp else NoisyLaw)(self.model, skill_rm=0.0)

    # ------------------------------------------------------------------------------- coordinates

    def coordinate(self, score: Floats, minds: Minds) -> Floats:
        """(rows, width) m of scores."""
        if self._of_difficulty:
            return self.model.edge_slope * (score - 1.0)
        shift = self.model.edge_slope * minds.kappa_rm + minds.bias
        inside = np.clip(score, 1e-12, 1.0 - 1e-12)
        return np.asarray(logit(inside) - shift[:, None])

    def _score(self, m: Floats, minds: Minds) -> Floats:
        """(rows,) scores of m."""
        if self._of_difficulty:
            return 1.0 + m / self.model.edge_slope
        return np.asarray(expit(m + self.model.edge_slope * minds.kappa_rm + minds.bias))

    def _column(self, kappa: Floats) -> tuple[Ints, Floats]:
        """Left neighbour on the grid of skills, and the weight of the right one."""
        if len(self._skills) == 1:
            return np.zeros(len(kappa), np.int64), np.zeros(len(kappa))
        step = self._skills[1] - self._skills[0]
        place = np.clip((kappa - self._skills[0]) / step, 0.0, len(self._skills) - 1.0)
        index = np.minimum(place.astype(np.int64), len(self._skills) - 2)
        return index, place - index

    def _edge_at(self, row: Ints, column: tuple[Ints, Floats]) -> Floats:
        """Edge success at nodes of m, rows of skills."""
        index, weight = column
        right = np.minimum(index + 1, len(self._skills) - 1)
        return (1.0 - weight) * self._edge[row, index] + weight * self._edge[row, right]

    # --------------------------------------------------------------------------- what is wanted

    def successes(self, score: Floats, minds: Minds) -> tuple[Floats, Floats]:
        """(rows, width) E[p_e | s], given a valid draft, and E[p_c | s]; linear in the tables."""
        m = self.coordinate(score, minds)
        step = self._m[1] - self._m[0]
        place = np.clip((m - self._m[0]) / step, 0.0, GRID_POINTS - 1.0)
        row = np.minimum(place.astype(np.int64), GRID_POINTS - 2)
        part = place - row
        index, weight = self._column(minds.kappa)
        column = (index[:, None], weight[:, None])
        edge = (1.0 - part) * self._edge_at(row, column) + part * self._edge_at(row + 1, column)
        cloud = (1.0 - part) * self._cloud[row] + part * self._cloud[row + 1]
        return edge, cloud

    def threshold(
        self,
        omega: Floats,
        minds: Minds,
        crowding: Floats | float = 0.0,
        mult: Floats | float = 1.0,
        *,
        is_social: bool = True,
    ) -> Floats:
        """(rows,) the root of V Delta(tau) = mult (omega + crowding O(tau)), as `ScoreLaw` has it.

        Args:
            omega: (rows,) extra cost in latency and price.
            minds: edge and scorer.
            crowding: (rows,) rise of omega per share offloaded (3.8); 0: no congestion.
            mult: (rows,) frontier multiplier (3.7).
            is_social: the optimum for all together, at marginal costs: twice the crowding.
        """
        rise = 2.0 * crowding if is_social else crowding
        m = self.model
        column = self._column(minds.kappa)
        # Behind the gate a kept draft is valid; else it is so with the row's own probability.
        valid = np.ones_like(minds.schema) if self._is_gated else minds.schema
        fixed = mult * omega + m.w_schema * (valid - m.schema_cloud)

        def surplus(row: Ints) -> Floats:
            share = self._share[row]
            if self._is_gated:
                share = 1.0 - minds.schema * (1.0 - share)
            gain = self._cloud[row] - valid * self._edge_at(row, column)
            return np.asarray(m.value * gain - fixed - mult * rise * share)

        low = np.zeros(len(omega), np.int64)
        high = np.full(len(omega), GRID_POINTS - 1)
        first, last = surplus(low), surplus(high)
        while (high - low > 1).any():
            middle = (low + high) // 2
            is_right = surplus(middle) > 0.0
            low, high = np.where(is_right, middle, low), np.where(is_right, high, middle)
        left, right = surplus(low), surplus(high)
        part = np.clip(left / np.maximum(left - right, 1e-300), 0.0, 1.0)
        tau = self._score(self._m[low] + part * (self._m[high] - self._m[low]), minds)
        none = self._at_the_low_end(omega, minds, crowding, mult)
        return np.where(last >= 0.0, 1.0, np.where(first <= 0.0, none, tau))

    def _at_the_low_end(
        self, omega: Floats, minds: Minds, crowding: Floats | float, mult: Floats | float
    ) -> Floats:
        """No valid draft is sent: 0, or only the invalid ones where the cloud is worth it."""
        if not self._is_gated:
            return np.zeros_like(omega)
        m = self.model
        # They are sent all or none, so what counts is their own cost, not the marginal one.
        cost = mult * (omega + crowding * (1.0 - minds.schema))
        worth = m.value * self._invalid_worth + m.w_schema * m.schema_cloud
        return np.where(worth > cost, GATE, 0.0)

"""Is a task a contextual bandit: does what an action earns depend on earlier actions at all?

It is asked of the environment itself, so that no system has to say it: two plays of the same worlds
take different actions, then the same. Where these are paid alike in both, earlier actions do not
matter, and looking ahead cannot help.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.generic import RandomPolicy
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.leaderboard.protocol import Task
from sixgym.leaderboard.runner import make_rows

WORLDS = 16
"""Worlds that are tried, those of the first small seeds."""
APART = 12
"""Steps with different actions, tried first; then three quarters of the horizon."""
TOGETHER = 12
"""Steps with the same actions after them."""
TOLERANCE = 1e-4
"""Relative difference of two rewards that are the same to the rounding of float32."""


class Play(NamedTuple):
    """The steps with common actions.

    Attributes:
        reward: (steps, worlds).
        alive: (steps, worlds) bool, true where the first episode still went on.
    """

    reward: NDArray[np.float64]
    alive: NDArray[np.bool_]


def is_bandit(task: Task) -> bool | None:
    """Whether no reward of a task depends on earlier actions, as far as random plays show.

    Returns:
        None where they show nothing: all the rewards are the same.
    """
    horizon = task.horizon or 4 * APART
    env = make_rows(task.env_id, WORLDS, task.params)
    try:
        for apart in (min(APART, horizon // 2), horizon // 4 * 3):
            alike = _is_paid_alike(env, apart)
            if not alike:
                return alike
    finally:
        env.close()
    return True


def _is_paid_alike(env: SixgymVectorEnv, apart: int) -> bool | None:
    """Whether common actions earn the same after ``apart`` different ones; None: no reward."""
    one, other = (_play(env, seed, apart) for seed in (0, 1))
    if not np.array_equal(one.alive, other.alive):
        return False
    paid, again = one.reward[one.alive], other.reward[other.alive]
    if paid.size == 0 or np.ptp(paid) == 0.0:
        return None
    scale = TOLERANCE * float(np.abs(paid).max())
    return bool(np.allclose(paid, again, rtol=TOLERANCE, atol=scale))


def _play(env: SixgymVectorEnv, seed: int, apart: int) -> Play:
    """Random actions of a seed, then those that every play has in common."""
    own, common = (RandomPolicy(env.system.action_space, seed=s) for s in (seed, 2))
    observation, _ = env.reset(seed=list(range(WORLDS)))
    alive = np.ones(WORLDS, dtype=bool)
    reward, were_alive = [], []
    for step in range(apart + TOGETHER):
        acting = own if step < apart else common
        acting.attach(env)
        masks = env.rows.action_mask()
        action, _ = acting.predict(
            observation, action_masks=None if masks is None else masks.cpu().numpy()
        )
        observation, paid, terminated, truncated, _ = env.step(action)
        if step >= apart:
            reward.append(np.asarray(paid, dtype=np.float64))
            were_alive.append(alive.copy())
        alive &= ~(np.asarray(terminated) | np.asarray(truncated))
    return Play(np.stack(reward), np.stack(were_alive))

"""Random and constant policies of any space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from toy_systems import Counter

from sixgym.baselines.generic import ConstantPolicy, RandomPolicy, middle_action
from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.rollout import Policy, rollout

SPACES: list[spaces.Space[Any]] = [
    spaces.Box(-1.0, 3.0, (2, 3), np.float32),
    spaces.Box(0, 9, (2,), np.int64),
    spaces.Discrete(5),
    spaces.Discrete(5, start=-2),
    spaces.MultiDiscrete([2, 3, 4]),
    spaces.MultiBinary(4),
    spaces.Dict({"block": spaces.Discrete(3), "controls": spaces.Box(-1.0, 1.0, (4,))}),
]


def row(actions: Any, i: int) -> Any:
    return {k: v[i] for k, v in actions.items()} if isinstance(actions, dict) else actions[i]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_random_actions_lie_in_their_space_and_vary(space: spaces.Space[Any]) -> None:
    actions, _ = RandomPolicy(space).predict(np.zeros((500, 3)))
    assert all(space.contains(row(actions, i)) for i in range(500))
    seen = {str(row(actions, i)) for i in range(500)}
    assert len(seen) > 1


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_the_middle_action_lies_in_its_space(space: spaces.Space[Any]) -> None:
    actions, _ = ConstantPolicy(middle_action(space)).predict(np.zeros((3, 2)))
    assert all(space.contains(row(actions, i)) for i in range(3))


def test_discrete_actions_are_uniform() -> None:
    """20,000 draws of 5 values: each 4,000 +- 5 standard deviations of 57."""
    actions, _ = RandomPolicy(spaces.Discrete(5)).predict(np.zeros((20_000, 1)))
    counts = np.bincount(actions, minlength=5)
    assert (np.abs(counts - 4000) < 5 * 57).all()


def test_masked_actions_are_uniform_over_what_is_allowed() -> None:
    masks = np.zeros((20_000, 5), dtype=bool)
    masks[:, [1, 4]] = True
    actions, _ = RandomPolicy(spaces.Discrete(5)).predict(np.zeros((20_000, 1)), action_masks=masks)
    assert set(actions.tolist()) == {1, 4}
    assert abs((actions == 1).mean() - 0.5) < 0.02


def test_a_random_episode_is_a_function_of_its_row_seed() -> None:
    """Whatever the batch: rows of 3 and of 8 play the same episodes."""
    played = []
    for rows in (3, 8):
        env = make_vector_env(Counter, rows, max_episode_steps=12)
        played.append(rollout(env, RandomPolicy(env.single_action_space), list(range(50, 58))))
    assert np.array_equal(played[0].reward, played[1].reward)
    assert np.array_equal(played[0].sums["bias"], played[1].sums["bias"])
    assert len(set(played[0].sums["bias"].tolist())) == 8


def test_another_seed_is_another_random_policy() -> None:
    env = make_vector_env(Counter, 4, max_episode_steps=12)
    space = env.single_action_space
    one = rollout(env, RandomPolicy(space), [1, 2, 3, 4])
    other = rollout(env, RandomPolicy(space, seed=1), [1, 2, 3, 4])
    assert not np.array_equal(one.sums["bias"], other.sums["bias"])
    assert np.allclose(
        one.sums["moved"] - one.sums["bias"], other.sums["moved"] - other.sums["bias"], atol=1e-5
    ) or not np.array_equal(one.length, other.length)


def test_an_unattached_random_policy_still_varies_from_call_to_call() -> None:
    policy = RandomPolicy(spaces.Discrete(1000))
    first, _ = policy.predict(np.zeros((50, 1)))
    second, _ = policy.predict(np.zeros((50, 1)))
    assert not np.array_equal(first, second)
    assert isinstance(policy, Policy)


def test_an_unbounded_space_is_refused() -> None:
    with pytest.raises(OptionsError, match="unbounded"):
        RandomPolicy(spaces.Box(-np.inf, np.inf, (2,)))
    with pytest.raises(OptionsError, match="no uniform actions in Text"):
        RandomPolicy(spaces.Text(3))

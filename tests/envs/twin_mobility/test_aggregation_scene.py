"""The picture of `sixgym/AgentAggregation-v0`: painted in every variant, true to the last round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pygame")

from sixgym.envs.core.make import make_env
from sixgym.envs.twin_mobility import AgentAggregation
from sixgym.envs.twin_mobility.aggregation_scene import (
    COLORS,
    FAILED,
    GIVEN,
    MOVE_COLOR,
    SEND_COLOR,
    agent_color,
)

WEST = np.s_[30:395, :370]
"""The map."""
TABLE = np.s_[58:312, 496:595]
"""The bars of energy."""


def show(rounds: int = 1, u: tuple[float, ...] = (0.3, 0.0, 0.5, 0.6, 0.6), **params: Any) -> Any:
    env = make_env(AgentAggregation, render_mode="rgb_array", **params)
    env.reset(seed=4)
    n = env.system.params.num_agents
    action = np.tile(np.concatenate([np.linspace(0.0, 1.0, n), u]), n).astype(np.float32)
    for _ in range(rounds):
        env.step(action)
    return env, env.render()


def share(image: NDArray[np.uint8], color: tuple[int, int, int]) -> int:
    return int((image == np.array(color, np.uint8)).all(-1).sum())


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"rounds": 0},
        {"rounds": 4},
        {"num_agents": 2},
        {"num_agents": 12, "u": (0.7, 1.0, 1.0, 0.9, 0.1)},
        {"preset": "stress", "u": (0.1, 0.4, 0.2, 1.0, 1.0)},
        {"area_m": 1500.0},
    ],
)
def test_every_variant_can_be_painted(params: dict[str, Any]) -> None:
    _, image = show(**params)
    assert image.shape == (400, 600, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5


def test_colours_of_those_who_handed_over_vanish() -> None:
    env, image = show(rounds=4)
    assert int(env.rows.state.num_active[0]) == 1
    root = int(env.rows.state.active[0].to(int).argmax())
    here = [i for i in range(10) if share(image[WEST], agent_color(i)) > 150]
    assert {agent_color(i) for i in here} == {agent_color(root)}
    assert share(image[WEST], GIVEN) > 9 * 100


def test_failed_links_are_told_by_colour() -> None:
    assert share(show(power_max_w=1e-12)[1][WEST], FAILED) > 300
    assert share(show()[1][WEST], FAILED) == 0


def test_bars_tell_what_the_energy_went_into() -> None:
    still = show()[1][TABLE]
    moved = show(u=(0.3, 1.0, 0.5, 0.6, 0.6))[1][TABLE]
    loud = show(preset="stress", power="max", u=(0.3, 0.0, 0.5, 0.4, 0.6))[1][TABLE]
    assert share(moved, MOVE_COLOR) > 1000 > 10 > share(still, MOVE_COLOR)
    assert share(loud, SEND_COLOR) > share(still, SEND_COLOR)


def test_twelve_agents_have_twelve_colours() -> None:
    assert len(set(COLORS)) == len(COLORS) == 12

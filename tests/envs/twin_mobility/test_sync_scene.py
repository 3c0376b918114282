"""The picture of `sixgym/TwinSync-v0`: painted in every variant, true to the state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("pygame")

from sync_cases import INSTANCE_A, ONE_CYCLE, PLAN_A, Play

from sixgym.envs.core.make import make_env
from sixgym.envs.core.render import Canvas
from sixgym.envs.twin_mobility.scene import (
    BATTERY,
    CORNER,
    HOT,
    LOW,
    SIDE,
    STAGE_COLORS,
    draw_scene,
    heat,
    on_map,
)
from sixgym.envs.twin_mobility.state import DEAD, IDLE, MOVE, SENSE, TX
from sixgym.envs.twin_mobility.sync import TwinSync


def picture(play: Play, row: int = 0) -> NDArray[np.uint8]:
    canvas = Canvas()
    draw_scene(play.system, play.state, row, canvas)
    image: NDArray[np.uint8] = canvas.array()
    return image


def share(image: NDArray[np.uint8], color: tuple[int, int, int]) -> int:
    """Pixels of a colour on the map."""
    x, y = int(CORNER[0]), int(CORNER[1])
    part = image[y : y + int(SIDE), x : x + int(SIDE)]
    return int((part == np.array(color, np.uint8)).all(-1).sum())


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"preset": "large"},
        {"preset": "small", "deviation": "ou"},
        {"preset": "uav", "overlap_proc_move": True},
        {"num_agents": 64, "num_regions": 16, "area_m": 2000.0},
        {"num_agents": 1, "num_regions": 1, "sensing_radius_m": 0.0},
        {"battery_j": 30.0, "death_mode": "remove"},
    ],
)
def test_every_variant_can_be_painted(kwargs: dict[str, Any]) -> None:
    env = make_env(TwinSync, render_mode="rgb_array", **kwargs)
    env.reset(seed=1)
    env.action_space.seed(0)
    for t in range(25):
        if env.step(env.action_space.sample())[2]:
            break
        if t in (0, 24):
            image = env.render()
            assert image.shape == (400, 600, 3)
            assert image.dtype == np.uint8
            assert image.std() > 5


def test_the_colours_tell_stage_and_deviation() -> None:
    play = Play(instance=INSTANCE_A, **ONE_CYCLE)
    assert share(picture(play), STAGE_COLORS[IDLE]) > 40
    seen = {}
    for _ in range(60):
        play.step(1, PLAN_A)
        stage = int(play.state.stage[0, 0])
        seen[stage] = share(picture(play), STAGE_COLORS[stage])
    assert {MOVE, SENSE, TX} <= set(seen)
    assert min(seen.values()) > 40
    hot = Play(instance={**INSTANCE_A, "aoi0": [200.0]}, **ONE_CYCLE)
    assert share(picture(hot), HOT) > 500
    assert share(picture(play), HOT) == 0


def test_a_link_is_drawn_for_those_who_sent() -> None:
    play = Play(instance=INSTANCE_A, **ONE_CYCLE)
    painted = []
    for _ in range(54):
        play.step(1, PLAN_A)
        painted.append(share(picture(play), STAGE_COLORS[TX]))
    assert max(painted[:45]) == 0
    assert painted[46] > painted[45] + 80  # it waits, then it sends
    assert painted[53] > 80  # parked, but it sent in the last slot


def test_batteries_and_deaths_are_seen() -> None:
    play = Play(instance={**INSTANCE_A, "batt": [100.0]}, **{**ONE_CYCLE, "battery_j": 100.0})
    assert share(picture(play), BATTERY) > 20
    for _ in range(24):
        play.step(1, PLAN_A)
    assert share(picture(play), LOW) > 0
    while int(play.state.stage[0, 0]) != DEAD:
        play.step(1, PLAN_A)
    image = picture(play)
    assert share(image, LOW) == share(image, BATTERY) == 0
    assert share(image, STAGE_COLORS[DEAD]) > 40


def test_north_is_up_and_colours_run_from_calm_to_hot() -> None:
    play = Play()
    low, high = on_map(play.system, 0.0, 0.0), on_map(play.system, 1000.0, 1000.0)
    assert low == (CORNER[0], CORNER[1] + SIDE)
    assert high == (CORNER[0] + SIDE, CORNER[1])
    assert heat(5.0) == heat(2.0) == HOT
    reds = [heat(s)[1] for s in torch.linspace(0.0, 2.0, 9).tolist()]
    assert reds == sorted(reds, reverse=True)

"""What agents and one controller see, and the option ``instance``."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sync_cases import ID, Play

import sixgym
from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.pettingzoo_view import parallel_env
from sixgym.envs.twin_mobility.observation import ObservationLayout
from sixgym.envs.twin_mobility.state import IDLE, MOVE, PROC, REPOS, SENSE, TX

sixgym  # noqa: B018  (registers the ids)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"observe_others": False},
        {"mask_in_obs": True},
        {"preset": "large", "observe_others": False},
        {"num_agents": 1, "num_regions": 1},
        {"death_mode": "remove", "battery_j": 150.0},
        {"battery_j": 150.0, "mask_in_obs": True, "drift_range": (0.3, 0.6)},
    ],
)
def test_every_view_follows_from_the_central_one(kwargs: dict[str, Any]) -> None:
    env = gym.make_vec(ID, 6, **kwargs)
    system = env.system
    observation, _ = env.reset(seed=2)
    pool = [env.action_space.sample() for _ in range(9)]
    for t in range(110):
        state = env.rows.state
        want = system.perceive(state, {})
        got = system.seen(torch.from_numpy(np.asarray(observation)))
        assert set(want) <= set(got)
        for key, value in want.items():
            torch.testing.assert_close(got[key], value, rtol=0.0, atol=1e-6)
            assert got[key].dtype == torch.float32
        views = want["agent.observation" if kwargs.get("mask_in_obs") else "agent"]
        told = system.observer.masks_of(views)
        for mask, physical in zip(told, system.observer.masks(state), strict=True):
            assert torch.equal(mask.bool(), physical)
        if "alive" in got:
            assert torch.equal(got["alive"].bool(), system.alive(state))
        observation = env.step(pool[t % 9])[0]


def test_the_sizes_of_observations() -> None:
    for n, r, size, central in ((8, 4, 104, 243), (3, 2, 57, 91), (1, 1, 36, 34)):
        layout = ObservationLayout(n, r)
        assert layout.size == 25 + 11 * r + 5 * (n - 1) == size
        assert layout.central_size == n * (22 + r) + 8 * r + 3 == central
    assert ObservationLayout(8, 4, observe_others=False).size == 69
    assert gym.make(ID).observation_space.shape == (243,)
    assert parallel_env(ID).observation_space("agent_0").shape == (104,)


def test_an_own_block_holds_what_it_says() -> None:
    play = Play(rows=4, seed=7)
    u = torch.tensor([0.4, 0.5, 1.0, 0.6, 0.3, 1.0, 1.0]).double()
    at = play.system.observer.layout
    seen_stages = set()
    for _ in range(60):
        play.step(torch.arange(8) % 4 + 1, u)
        state, p = play.state, play.params
        own = play.system.perceive(state, {})["agent"][..., at.own]
        assert own.shape[-1] == at.own_size == 26
        position = own[..., at.position].double() * p.area_m
        torch.testing.assert_close(position, state.position, rtol=0.0, atol=1e-3)
        assert torch.equal(own[..., at.stage].argmax(-1), state.stage)
        target = own[..., at.target].argmax(-1)
        assert torch.equal(torch.where(target == 4, -1, target), state.target)
        assert torch.allclose(own[..., at.battery][..., 0].double(), state.battery_j / 2000.0)
        left = own[..., at.remaining][..., 0]
        assert bool(((left >= 0.0) & (left <= 1.0)).all())
        held = (state.stage >= PROC) & (state.stage <= TX)
        age = torch.where(held, state.slot.unsqueeze(1) - state.stamp, 0.0) / 60.0
        assert torch.allclose(own[..., at.sample_age][..., 0].double(), age, atol=1e-6)
        seen_stages |= set(state.stage.flatten().tolist())
    assert seen_stages >= {IDLE, MOVE, SENSE, PROC, REPOS, TX}


def test_the_region_blocks_hold_what_they_say() -> None:
    play = Play(rows=3, seed=9)
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        play.step(torch.arange(8) % 4 + 1, torch.rand(3, 8, 7, generator=generator))
    state, at = play.state, play.system.observer.layout
    seen = play.system.perceive(state, {})["agent"]
    blocks = seen[..., at.regions].unflatten(-1, (4, 10)).double()
    age, off = play.system.observer.ages(state)
    offset = (state.centre.unsqueeze(1) - state.position.unsqueeze(2)) / 1000.0
    way = (offset.square().sum(-1).sqrt() - 0.05).clamp_min(0.0)
    committed = torch.stack([(state.target == r).double().mean(-1) for r in range(4)], -1)
    flying = torch.stack([(state.info * (state.target == r)).sum(-1) for r in range(4)], -1)
    flag = torch.nn.functional.one_hot(off.argmax(-1), 4).double()
    shared = [age / 60, off / 2, state.drift / 0.06, state.theta / 3, committed,
              flying / state.theta, flag]  # fmt: skip
    want = [offset[..., 0], offset[..., 1], way, *(t.unsqueeze(1).expand_as(way) for t in shared)]
    torch.testing.assert_close(blocks, torch.stack(want, -1).clamp(-5, 5), rtol=0, atol=2e-6)
    glob = seen[..., at.glob].double()
    assert torch.allclose(glob[..., 1], torch.tensor(50 / 600).double())
    assert torch.allclose(glob[..., 2], (off.amax(-1) / 2).unsqueeze(1).expand(3, 8), atol=1e-6)


def test_agents_without_downlink_know_the_ages_of_their_last_contact() -> None:
    play = Play(rows=16, seed=3, obs_noise_age=True, num_agents=3, num_regions=2)
    age, off = play.system.observer.ages(play.state)
    known = torch.stack([age, off], 1).unsqueeze(2).expand(-1, -1, 3, -1).clone()
    torch.testing.assert_close(play.state.known, known)
    u = torch.tensor([0.7, 0.5, 1.0, 0.5, 0.3, 1.0, 1.0]).double()
    contacts = 0
    for _ in range(70):
        told = play.step([1, 2, 1], u)
        heard = told["agent_delivered"].bool()
        now = torch.stack([told["aoi"], told["dev"]], 1).unsqueeze(2).expand_as(known)
        known = torch.where(heard[:, None, :, None], now, known)
        torch.testing.assert_close(play.state.known, known)
        contacts += int(heard.sum())
    assert contacts > 16
    at = play.system.observer.layout
    seen = play.system.perceive(play.state, {})["agent"]
    blocks = seen[..., at.regions].unflatten(-1, (2, 10))
    torch.testing.assert_close(blocks[..., 3].double() * 60, known[:, 0], rtol=1e-5, atol=1e-4)
    flat = gym.make(ID, obs_noise_age=True)
    assert flat.observation_space.shape == (8 * 104,)


def test_an_instance_sets_some_arrays_for_all_rows_or_for_each() -> None:
    env = gym.make_vec(ID, 3)
    plain = gym.make_vec(ID, 3)
    plain.reset(seed=0)
    drift = np.linspace(0.01, 0.12, 12).reshape(3, 4)
    env.reset(seed=0, options={"instance": {"drift": drift, "batt": [100.0] * 8}})
    state, usual = env.rows.state, plain.rows.state
    np.testing.assert_allclose(state.drift.numpy(), drift, rtol=1e-6)
    assert bool((state.battery_j == 100.0).all())
    assert torch.equal(state.position, usual.position)
    env.reset()
    assert bool((env.rows.state.battery_j == 2000.0).all())


def test_an_instance_reaches_agents_by_name() -> None:
    view = parallel_env(ID, num_agents=2, num_regions=1)
    options = {"instance": {"aoi0": [12.0], "f_min": [0.9]}, "unknown": 1}
    _, infos = view.reset(seed=0, options=options)
    assert infos["agent_1"]["aoi"].tolist() == [12.0]
    drift = float(view.table.rows.state.drift)
    assert infos["agent_0"]["dev"][0] == pytest.approx(12 * drift + 0.1, rel=1e-5)


@pytest.mark.parametrize(
    ("instance", "words"),
    [
        ({"place": [1.0]}, "unknown 'place'"),
        ({"pos": [[0.0, 0.0]]}, r"instance.pos: shape \(1, 2\); allowed: \(8, 2\)"),
        ({"drift": [0.1, 0.1, 0.1, -0.1]}, "instance.drift: -0.1; allowed: from 0"),
        ({"f_min": [1.0] * 4}, "instance.f_min: 1.0; allowed: from 0 to 0.9999"),
        ({"batt": [0.0] * 8}, "instance.batt: 0.0"),
        ({"f_max": [1e8] * 8}, "instance.f_max: 100000000.0; allowed: from 1e"),
        ({"aoi0": [np.nan] * 4}, "instance.aoi0: nan"),
        ({"kappa": "many"}, "instance.kappa='many': allowed: numbers"),
        ([1, 2], r"instance=\[1, 2\]: allowed: a dictionary"),
    ],
)
def test_a_wrong_instance_is_refused_by_name(instance: Any, words: str) -> None:
    env = gym.make(ID)
    with pytest.raises(OptionsError, match=words):
        env.reset(seed=0, options={"instance": instance})

"""Layouts of one action, what they stand for, and the masks."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from sync_cases import ID, Play, as_flat, as_hybrid, grid_actions, sync

import sixgym
from sixgym.envs.core.pettingzoo_view import env as turn_env
from sixgym.envs.core.pettingzoo_view import parallel_env
from sixgym.envs.twin_mobility.actions import LEVELS
from sixgym.envs.twin_mobility.state import DEAD, IDLE, MOVE, PROC, REPOS, SENSE, TX

sixgym  # noqa: B018  (registers the ids)


STEPS = 40


def test_all_layouts_in_all_views_tell_one_story() -> None:
    """Hybrid by agents' names, flat and discrete by one controller, single and in a batch."""
    rng = np.random.default_rng(0)
    many, turns = parallel_env(ID), turn_env(ID)
    flat, levels = gym.make(ID), gym.make(ID, action_mode="discrete")
    batch = gym.make_vec(ID, 2, action_mode="flat")
    by_name = parallel_env(ID, action_mode="discrete")
    many.reset(seed=4), turns.reset(seed=4), by_name.reset(seed=4)
    flat.reset(seed=4), levels.reset(seed=4), batch.reset(seed=4)
    for _ in range(STEPS):
        chosen = grid_actions(rng, 8, 4)
        moves = {f"agent_{i}": as_hybrid(chosen[i]) for i in range(8)}
        rewards = many.step(moves)[1]
        for agent, move in moves.items():
            assert turns.agent_selection == agent
            turns.step(move)
        by_name.step({f"agent_{i}": chosen[i] for i in range(8)})
        told = [flat.step(as_flat(chosen, 4).ravel())[:2], levels.step(chosen.ravel())[:2]]
        seen, paid = batch.step(np.stack([as_flat(chosen, 4).ravel()] * 2))[:2]
        told.append((seen[0], paid[0]))
        for observation, reward in told:
            np.testing.assert_allclose(observation, many.state(), atol=1e-5)
            assert float(reward) == pytest.approx(rewards["agent_0"], abs=1e-5)
        np.testing.assert_allclose(turns.state(), many.state(), atol=1e-6)
        np.testing.assert_allclose(by_name.state(), many.state(), atol=1e-5)


def test_default_layouts_are_hybrid_by_name_and_flat_elsewhere() -> None:
    many = parallel_env(ID)
    assert isinstance(many.action_space("agent_0"), gym.spaces.Dict)
    assert many.action_space("agent_0")["region"].n == 5
    import pettingzoo

    made = pettingzoo.make("parallel", ID)
    assert isinstance(made.action_space("agent_0"), gym.spaces.Dict)
    assert gym.make(ID).action_space.shape == (8 * 12,)
    assert parallel_env(ID, action_mode="flat").action_space("agent_3").shape == (12,)
    both = gym.make_vec(ID, 2, action_mode="hybrid")
    assert set(both.single_action_space.spaces) == {"agent.region", "agent.u"}


def test_equal_scores_choose_the_first_region() -> None:
    env = gym.make_vec(ID, 1)
    env.reset(seed=0)
    action = np.zeros((1, 8, 12), np.float32)
    env.step(action.reshape(1, -1))
    assert bool((env.rows.state.stage == IDLE).all())
    action[..., 1:5] = 0.5
    env.step(action.reshape(1, -1))
    assert bool((env.rows.state.target == 0).all())


@pytest.mark.parametrize("mode", ["hybrid", "flat", "discrete"])
def test_levels_map_to_resources_by_the_table(mode: str) -> None:
    from sixgym.envs.twin_mobility.actions import resources

    system = sync(action_mode=mode, dtype="float64")
    cpu = torch.full((1, 1), 4e9, dtype=torch.float64)
    for u, want in (
        (0.0, (1.0, 0.5, 1e9, 0.05, 0.0, 0.01, 0.05)),
        (0.5, (10.5, 10.0**0.5, 2.5e9, 0.05**0.5, 0.5, 0.002**0.5, 0.05**0.5)),
        (1.0, (20.0, 20.0, 4e9, 1.0, 1.0, 0.2, 1.0)),
    ):
        got = resources(torch.full((1, 1, 7), u, dtype=torch.float64), cpu, system.params)
        assert [float(x) for x in got] == pytest.approx(want, rel=1e-12)


def test_what_is_fixed_is_fixed_whatever_the_action() -> None:
    from sixgym.envs.twin_mobility.actions import resources

    system = sync(preset="paper_strict")
    cpu = torch.full((1, 1), 4e9)
    for u in (0.0, 1.0):
        got = resources(torch.full((1, 1, 7), u), cpu, system.params)
        assert [float(got.cpu_flops), float(got.weight)] == [4e9, 1.0]


def test_masks_say_what_the_next_slot_reads() -> None:
    """What the component mask hides may be anything; what it shows is read by some stage."""
    play = Play(rows=32, seed=3, num_agents=4)
    other = Play(rows=32, seed=3, num_agents=4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(80):
        regions, components = play.system.observer.masks(play.state)
        region = torch.randint(0, 5, (32, 4), generator=generator)
        u = torch.rand(32, 4, 7, generator=generator)
        noise = torch.rand(32, 4, 7, generator=generator)
        told = play.step(region, u)
        shown = components[..., 1:]
        masked_region = torch.where(components[..., 0], region, 1 + 0 * region)
        allowed = regions.gather(-1, masked_region.unsqueeze(-1)).squeeze(-1)
        masked_region = torch.where(components[..., 0] & ~allowed, 0, masked_region)
        same = other.step(masked_region, torch.where(shown, u, noise))
        assert torch.equal(told["reward"], same["reward"])
        assert torch.equal(play.state.battery_j, other.state.battery_j)
        torch.testing.assert_close(told["region_mask"].bool(), play.system.observer.masks(
            play.state)[0])  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "shown"),
    [
        (IDLE, (1, 1, 1, 1, 1, 1, 0, 0)),
        (MOVE, (0, 1, 1, 1, 1, 1, 0, 0)),
        (SENSE, (0, 1, 0, 1, 1, 1, 0, 0)),
        (PROC, (0, 1, 0, 1, 0, 1, 0, 0)),
        (REPOS, (0, 1, 0, 0, 0, 0, 0, 0)),
        (TX, (0, 0, 0, 0, 0, 0, 1, 1)),
        (DEAD, (0, 0, 0, 0, 0, 0, 0, 0)),
    ],
)
def test_component_masks_by_stage(stage: int, shown: tuple[int, ...]) -> None:
    system = sync()
    mask = system.observer.components(torch.full((1, 1), stage))
    assert mask[0, 0].int().tolist() == list(shown)


def test_a_region_out_of_reach_is_masked_and_counts_as_staying() -> None:
    """0.25 J a metre at the cheapest speed: 60 J carry 240 m; the regions are 150 and 350 away."""
    instance = {
        "pos": [[500.0, 100.0]],
        "reg_xy": [[700.0, 100.0], [500.0, 500.0]],
        "batt": [60.0],
    }
    play = Play(instance=instance, num_agents=1, num_regions=2)
    regions, _ = play.system.observer.masks(play.state)
    assert regions[0, 0].tolist() == [True, True, False]
    u = torch.full((7,), 0.2)
    told = play.step(2, u)
    assert float(told["invalid"]) == 1.0
    assert play.state.stage.item() == IDLE
    told = play.step(1, u)
    assert float(told["invalid"]) == 0.0
    assert play.state.stage.item() == MOVE
    assert play.system.observer.masks(play.state)[0][0, 0].tolist() == [True, False, False]


def test_infos_of_agents_hold_their_masks_and_what_happened() -> None:
    view = parallel_env(ID)
    _, infos = view.reset(seed=1)
    keys = set(infos["agent_0"])
    assert infos["agent_2"]["region_mask"].tolist() == [1] * 5
    assert infos["agent_2"]["component_mask"].tolist() == [1, 1, 1, 1, 1, 1, 0, 0]
    rng = np.random.default_rng(2)
    seen = {"delivered": 0, "accepted": 0}
    spent = 0.0
    for _ in range(120):
        moves = {a: as_hybrid(grid_actions(rng, 1, 4)[0]) for a in view.agents}
        _, _, _, _, infos = view.step(moves)
        for info in infos.values():
            assert set(info) == keys
            assert info["dev"].shape == info["aoi"].shape == (4,)
            assert info["max_dev"] == pytest.approx(float(info["dev"].max()))
            assert info["energy"].shape == (5,)
            spent += float(info["energy"].sum())
            for name in seen:
                seen[name] += int(info[name])
    assert seen["delivered"] > 0
    left = float(view.table.rows.state.battery_j.sum())
    assert spent == pytest.approx(8 * 2000.0 - left, rel=1e-4)
    assert infos["agent_0"]["t"] == 120.0


def test_one_controller_is_told_all_masks_and_deviations() -> None:
    env = gym.make(ID)
    env.reset(seed=0)
    info = env.step(env.action_space.sample())[4]
    assert info["region_mask"].shape == (8, 5)
    assert info["component_mask"].shape == (8, 8)
    assert info["energy"].shape == (8, 5)
    assert info["dev"].shape == info["aoi"].shape == (4,)
    assert info["agent_delivered"].shape == (8,)
    assert info["energy"].sum() == pytest.approx(info["energy_j"], rel=1e-5)


def test_masks_of_the_discrete_layout_force_what_is_not_read() -> None:
    env = gym.make(ID, action_mode="discrete", num_agents=2, num_regions=3)
    env.reset(seed=0)
    mask = env.unwrapped.action_masks().reshape(2, -1)
    assert mask.shape[1] == 4 + sum(LEVELS)
    assert mask[0, :4].all()
    assert mask[0, -6:].tolist() == [True, False, False] * 2  # power and weight: not while idle
    assert mask[0, 4:-6].all()
    action = np.array([[1, 2, 2, 2, 2, 1, 2, 2], [0, 0, 0, 0, 0, 0, 0, 0]])
    env.step(action.ravel())
    mask = env.unwrapped.action_masks().reshape(2, -1)
    assert mask[0, :4].tolist() == [True, False, False, False]
    assert mask[1, :4].all()

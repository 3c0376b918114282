"""Batteries, deaths and the closing payment; rewards."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sync_cases import ID, Play, sync

import sixgym
from sixgym.envs.core.pettingzoo_view import parallel_env
from sixgym.envs.twin_mobility.state import DEAD

sixgym  # noqa: B018  (registers the ids)


def in_the_regions(agents: int, **kwargs: Any) -> Play:
    """Agents in the middle of their regions, who need no way to spend their batteries."""
    centres = [[200.0, 200.0], [800.0, 250.0], [500.0, 850.0]][:agents]
    instance = {"pos": centres, "reg_xy": centres, "drift": [0.05, 0.02, 0.04][:agents]}
    setting = {"num_agents": agents, "num_regions": agents, **kwargs}
    return Play(instance=instance, seed=2, **setting)


@pytest.mark.parametrize("mode", ["additive", "ratio", "ou"])
@pytest.mark.parametrize("reward", ["team", "max_only"])
def test_the_closing_payment_is_the_idle_tail_simulated(mode: str, reward: str) -> None:
    play = in_the_regions(
        3, battery_j=40.0, deviation=mode, reward_mode=reward, horizon_slots=150, ou_rate_per_s=0.02
    )
    u = torch.tensor([1.0, 0.5, 0.6, 0.6, 0.0, 1.0, 1.0]).double()
    for slot in range(150):  # noqa: B007
        told = play.step([1, 2, 3], u)
        if bool(told["terminated"]):
            break
    assert 20 < slot < 120
    terms = ("loss_deviation", "loss_energy", "loss_budget", "closing")
    assert float(told["reward"]) == pytest.approx(sum(float(told[k]) for k in terms), rel=1e-12)
    assert told["agent_reward"][0].tolist() == [float(told["reward"])] * 3
    lost = 0.0
    for _ in range(slot + 1, 150):
        after = play.step([1, 2, 3], u)
        assert float(after["energy_j"]) == 0.0
        lost += float(after["loss_deviation"])
    assert float(told["closing"]) == pytest.approx(lost, rel=1e-9)
    assert float(told["closing"]) < -10.0


def test_sums_over_slots_are_closed_when_all_are_dead() -> None:
    """Dying early does not look good: scores count the slots left as if they had been played."""
    dead, still = (in_the_regions(2, battery_j=12.0, horizon_slots=120) for _ in range(2))
    u = torch.full((7,), 1.0, dtype=torch.float64)
    names = ("max_deviation", "mean_deviation", "mean_age", "slots")
    sums = dict.fromkeys(names, 0.0)
    for slot in range(120):  # noqa: B007
        told = dead.step([1, 2], u)
        for name in names:
            sums[name] += float(told[name])
        if bool(told["terminated"]):
            break
    assert slot < 20
    for _ in range(120):  # nothing was delivered, so the same world without agents
        want = still.step(0, u)
        for name in names:
            sums[name] -= float(want[name])
    assert sums == pytest.approx(dict.fromkeys(names, 0.0), abs=1e-8)
    for name in ("peak_deviation", "peak_age", "jain"):
        assert float(told[name]) == pytest.approx(float(want[name]), rel=1e-12)


def test_dead_agents_never_act_and_lose_their_sample() -> None:
    play = Play(rows=16, seed=1, battery_j=120.0)
    generator = torch.Generator().manual_seed(0)
    deaths = 0.0
    for _ in range(200):
        before = play.state
        dead = before.stage == DEAD
        told = play.step(
            torch.randint(0, 5, (16, 8), generator=generator),
            torch.rand(16, 8, 7, generator=generator),
        )
        after = play.state
        deaths += float(told["deaths"].sum())
        assert bool((after.stage[dead] == DEAD).all())
        assert torch.equal(after.position[dead], before.position[dead])
        assert float(told["energy"][dead].abs().sum()) == 0.0
        assert float(told["agent_delivered"][dead].sum()) == 0.0
        now_dead = after.stage == DEAD
        assert torch.equal(now_dead, after.battery_j <= 0.0)
        assert bool((after.info[now_dead] == 0.0).all())
        assert bool((after.target[now_dead] == -1).all())
        regions, components = play.system.observer.masks(after)
        assert not bool(regions[now_dead].any())
        assert not bool(components[now_dead].any())
    assert deaths > 100
    alive_reward = play.outcome.diagnostics["agent_reward"]
    assert torch.equal(alive_reward, alive_reward[:, :1].expand_as(alive_reward))


def test_a_packet_that_is_delivered_with_the_last_energy_counts() -> None:
    from sync_cases import INSTANCE_A, ONE_CYCLE, PLAN_A

    play = Play(instance={**INSTANCE_A, "batt": [178.68]}, **ONE_CYCLE)
    spent = 0.0
    for _ in range(54):
        told = play.step(1, PLAN_A)
        spent += float(told["energy_j"])
    assert [float(told[k]) for k in ("delivered", "accepted", "deaths")] == [1.0, 1.0, 1.0]
    assert bool(told["terminated"])
    assert play.state.stage.item() == DEAD
    assert spent == pytest.approx(178.68, rel=1e-12)
    assert float(told["dev"]) == pytest.approx(1.134805, abs=5e-7)


def test_who_leaves_is_paid_the_idle_tail_at_once() -> None:
    kwargs = {"death_mode": "remove", "battery_j": 60.0, "horizon_slots": 200, "num_agents": 3}
    view = parallel_env(ID, max_episode_steps=200, **kwargs)
    view.reset(seed=5)
    left: dict[str, float] = {}
    rng = np.random.default_rng(0)
    for _ in range(200):
        moves = {a: {"region": 1 + int(rng.integers(4)), "u": np.full(7, 0.9, np.float32)}
                 for a in view.agents}  # fmt: skip
        before = view.agents
        if not before:
            break
        _, rewards, terminated, _, _ = view.step(moves)
        gone = [a for a in before if terminated[a]]
        stay = [a for a in before if not terminated[a]]
        for agent in gone:
            left[agent] = rewards[agent]
            idle = sync(**kwargs, dtype="float64")
            state = view.table.rows.state
            tail = _tail(idle, state)
            lump = (0.9 * tail[0] + 0.1 * tail[1]) / 2.0
            base = rewards[stay[0]] if stay else rewards[agent] + lump
            assert rewards[agent] == pytest.approx(base - lump, rel=1e-4)
        assert all(a not in view.agents for a in gone)
    assert set(left) == {"agent_0", "agent_1", "agent_2"}
    assert view.agents == []


def _tail(system: Any, state: Any) -> tuple[float, float]:
    """Sums of the largest and of the mean deviation over the slots left, slot by slot."""
    from sixgym.envs.twin_mobility.twin import deviation

    age, _ = system.observer.ages(state)
    total = [0.0, 0.0]
    for i in range(int(system.params.horizon_slots - state.slot[0])):
        value = deviation(state.drift, age + i + 0.5, state.twin_info, system.params)[0]
        total[0] += float(value.max())
        total[1] += float(value.mean())
    return total[0], total[1]


def test_one_controller_is_paid_alike_whether_the_dead_leave_or_stay() -> None:
    rewards = []
    for mode in ("masked", "remove"):
        env = gym.make_vec(ID, 4, death_mode=mode, battery_j=70.0, horizon_slots=80)
        env.reset(seed=3)
        env.action_space.seed(0)
        rewards.append([env.step(env.action_space.sample())[1:4] for _ in range(80)])
        env.close()
    for a, b in zip(*rewards, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_the_team_is_paid_once_and_every_agent_the_same() -> None:
    play = Play(rows=8, seed=1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        before = play.system.observer.ages(play.state)[1]
        told = play.step(
            torch.randint(0, 5, (8, 8), generator=generator),
            torch.rand(8, 8, 7, generator=generator),
        )
        middle = before + 0.5 * play.state.drift
        cost = 0.9 * middle.amax(-1) + 0.1 * middle.mean(-1)
        want = (
            -cost / 2.0
            - 0.02 * told["energy_j"] / (8 * 5.0)
            - 0.1 * told["agent_cost_energy"].sum(-1) / 8
        )
        torch.testing.assert_close(told["reward"], want)
        torch.testing.assert_close(told["agent_reward"], want.unsqueeze(-1).expand(8, 8))
        torch.testing.assert_close(told["max_deviation"], middle.amax(-1))


def test_credit_shares_the_decrease_among_the_packets_of_an_update() -> None:
    from sync_cases import ON_THE_SPOT, PLAN_SPOT, spot_instance

    setting = {**ON_THE_SPOT, "num_agents": 2, "reward_mode": "credit", "info_level": 1}
    instance = {**spot_instance(2), "kappa": [0.6, 0.3], "f_max": [5e9, 5e9], "aoi0": [20.0]}
    play = Play(instance=instance, **setting)
    for _ in range(12):
        start = play.system.observer.ages(play.state)[1]
        told = play.step(1, PLAN_SPOT)
        if float(told["accepted"]):
            break
    drop = float(start) + 0.05 - float(told["dev"])
    assert float(play.state.twin_info) == pytest.approx(3.6, abs=1e-9)  # both in one slot
    want = [drop * 2.4 / 3.6, drop * 1.2 / 3.6]
    assert told["agent_credit"][0].tolist() == pytest.approx(want, rel=1e-9)
    extra = told["agent_reward"][0] - told["team_reward"]
    assert extra.tolist() == pytest.approx([0.2 / 2.0 * w for w in want], rel=1e-9)
    assert float(told["reward"]) == float(told["team_reward"])


def test_shaping_telescopes() -> None:
    """With discount 1 its sum is the difference of the potentials, whatever was done."""
    play = Play(rows=4, shaping_weight=0.7, shaping_discount=1.0)
    first = play.system.observer.ages(play.state)[1].amax(-1)
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(4).double()
    for _ in range(80):
        told = play.step(
            torch.randint(0, 5, (4, 8), generator=generator),
            torch.rand(4, 8, 7, generator=generator),
        )
        total += told["shaping"]
    last = play.system.observer.ages(play.state)[1].amax(-1)
    torch.testing.assert_close(total, -0.7 * (last - first) / 2.0)


def test_max_only_pays_the_largest_deviation_alone() -> None:
    play = Play(rows=4, reward_mode="max_only", shaping_weight=1.0)
    u = torch.full((7,), 0.8, dtype=torch.float64)
    for _ in range(30):
        told = play.step(torch.arange(8) % 4 + 1, u)
        torch.testing.assert_close(told["reward"], -told["max_deviation"] / 2.0)

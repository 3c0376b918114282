"""Games for TorchRL: every id passes TorchRL's own check, tells what PettingZoo is told, trains."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

pytest.importorskip("torchrl")

from pettingzoo.env_registry import registration
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torchrl.collectors import Collector
from torchrl.envs.utils import check_env_specs
from torchrl.modules import MultiAgentMLP, ProbabilisticActor, TanhNormal
from torchrl.objectives import ClipPPOLoss
from toy_games import Crowd, Drones, Grant
from toy_systems import Counter

import sixgym
from sixgym.envs.core import registry
from sixgym.envs.core.errors import ActionError, OptionsError, ParamsError, StateError
from sixgym.envs.core.pettingzoo_view import parallel_env
from sixgym.envs.core.torchrl_game import SixgymTorchRLGame, make_torchrl_game
from sixgym.envs.core.worlds import row_seed

# TorchRL makes "spawn" the start method of the whole process, also for the tests of others.
multiprocessing.set_start_method(None, force=True)

TOYS = ("toy/Crowd-v0", "toy/Grant-v0", "toy/Drones-v0")
OURS = [e for e in sixgym.entries() if e.id.startswith("sixgym/")]  # other tests register toys
GAMES = [*(e.id for e in OURS if e.is_game), *TOYS]


@pytest.fixture(autouse=True)
def _own_registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    tables = (gym.registry, registration.aec_registry, registration.parallel_registry)
    kept = [dict(table) for table in tables]
    for game in (Crowd, Drones, Grant):
        registry.register(f"toy/{game.__name__}-v0", game, max_episode_steps=8, is_game=True)
    registry.register("toy/Counter-v0", Counter, max_episode_steps=6)
    yield
    for table, before in zip(tables, kept, strict=True):
        table.clear()
        table.update(before)


@pytest.mark.parametrize("id", GAMES)
def test_torchrls_own_check_passes(id: str) -> None:
    env = make_torchrl_game(id, 3, max_episode_steps=4)
    check_env_specs(env, seed=0)
    told = env.rollout(14, break_when_any_done=False)
    assert told.batch_size == (3, 14)
    assert told["next", "done"].any()
    for key, agents in env.group_map.items():
        assert told[key].batch_size == (3, 14, len(agents))


def row(value: Any, i: int) -> Any:
    """The actions of one seat of one row as PettingZoo's view takes them."""
    if isinstance(value, TensorDict):
        return {k: row(v, i) for k, v in value.items()}
    array = value[0, i].numpy()
    return array.item() if array.ndim == 0 else array


@pytest.mark.parametrize("id", GAMES)
def test_it_tells_what_agents_by_name_are_told(id: str) -> None:
    """One row beside PettingZoo's view with seats as agents, over turns, ends and restarts."""
    view = make_torchrl_game(id, 1, seed=2, max_episode_steps=6)
    theirs = parallel_env(id, fixed_agents=True, flatten=False, max_episode_steps=6)
    seen, _ = theirs.reset(seed=row_seed("train", 2))
    told = view.rollout(26, break_when_any_done=False)
    names = view.group_map
    ends = 0
    for t in range(26):
        now, following = told[:, t], told[:, t]["next"]
        moves = {}
        for key, agents in names.items():
            mask = now[key, "mask"][0]
            for i, agent in enumerate(agents):
                _require_sight(now[key], i, seen[agent], bool(mask[i]))
                moves[agent] = row(now[key, "action"], i)
        assert np.array_equal(now["state"][0].numpy(), theirs.state())
        seen, paid, terminated, truncated, _ = theirs.step(moves)
        for key, agents in names.items():
            want = [paid[a] for a in agents]
            assert following[key, "reward"][0, :, 0].tolist() == pytest.approx(want, abs=1e-6)
        over = bool(following["terminated"])
        assert over == all(terminated.values())
        assert (bool(following["truncated"]) and not over) == any(truncated.values())
        if following["done"].all():
            ends += 1
            seen, _ = theirs.reset()
    assert ends >= 2


def _require_sight(group: TensorDict, i: int, seen: Any, is_there: bool) -> None:
    """What a seat sees is what its agent is told, mask included; of empty seats nothing is said."""
    if isinstance(seen, dict) and "action_mask" in seen:
        mask, seen = seen["action_mask"], seen["observation"]
        flat = np.concatenate(mask) if isinstance(mask, tuple) else mask
        assert np.array_equal(group["action_mask"][0, i].numpy(), flat)
    if not is_there:
        return
    if isinstance(seen, dict):
        for part, value in seen.items():
            assert np.array_equal(group["observation", part][0, i].numpy(), value)
    else:
        assert np.array_equal(group["observation"][0, i].numpy(), seen)


def test_turns_show_whose_turn_it_is_and_pay_with_the_last() -> None:
    env = make_torchrl_game("toy/Grant-v0", 4)
    told = env.rollout(2, break_when_any_done=False)
    assert told["bs", "mask"].all(dim=2).tolist() == [[True, False]] * 4
    assert told["ue", "mask"].all(dim=2).tolist() == [[False, True]] * 4
    assert not told["next", "bs", "reward"][:, 0].any()
    assert torch.equal(  # the followers hear the leader's grant
        told["ue", "observation"][:, 1, :, 1], told["bs", "action"][:, 0, 0].to(torch.float32)
    )


def test_some_rows_alone_cannot_begin_between_two_turns() -> None:
    env = make_torchrl_game("toy/Grant-v0", 2)
    state = env.reset()
    after = env.step(env.rand_action(state))["next"]
    asked = TensorDict({"_reset": torch.tensor([[True], [False]])}, batch_size=[2])
    with pytest.raises(StateError, match="between two turns"):
        env.reset(asked)
    assert not after["done"].any()
    env.reset()  # all together can


def test_a_move_that_is_not_in_its_space_is_refused_by_its_group() -> None:
    env = make_torchrl_game("toy/Drones-v0", 2)
    state = env.reset()
    state["drone", "action"] = torch.full((2, 2, 2), 3.0)
    with pytest.raises(ActionError, match=r"drone\.action"):
        env.step(state)


def test_who_leaves_is_told_and_empty_seats_earn_nothing() -> None:
    env = make_torchrl_game("toy/Crowd-v0", 16, max_episode_steps=200)
    told = env.rollout(60)
    left = told["next", "ue", "left"]
    there = told["ue", "mask"]
    assert left.any()
    assert not (left & ~there).any()
    gone = ~told["next", "ue", "mask"] & there
    assert not (gone & ~left).any()  # an emptied seat may be taken in the same step, not the other
    assert not told["next", "ue", "reward"][..., 0][~there].any()
    assert told["ue", "action_mask"][~there].all()


def test_seeds_are_blocks_of_worlds_and_parameters_are_checked() -> None:
    first = make_torchrl_game("toy/Crowd-v0", 3, seed=3).reset()
    other = make_torchrl_game("toy/Crowd-v0", 3)
    other.set_seed(3)
    assert torch.equal(other.reset()["state"], first["state"])
    with pytest.raises(ParamsError, match="seats"):
        make_torchrl_game("toy/Crowd-v0", seats=99)
    with pytest.raises(OptionsError, match="allowed: a game"):
        make_torchrl_game("toy/Counter-v0")


def test_the_layout_of_pettingzoo_is_the_default_here_too() -> None:
    env = make_torchrl_game("sixgym/TwinSync-v0", 1)
    assert sorted(env.action_keys) == [("agent", "action", "region"), ("agent", "action", "u")]
    flat = make_torchrl_game("sixgym/TwinSync-v0", 1, action_mode="flat")
    assert flat.action_keys == [("agent", "action")]


def test_ppo_with_a_central_critic_trains_a_few_iterations() -> None:
    torch.manual_seed(0)
    env = make_torchrl_game("sixgym/EventOffloadMulti-v0", 8, max_episode_steps=20)
    key, agents = "devices", 6
    actor, critic = _mappo(env, key, agents)
    loss = ClipPPOLoss(
        actor, critic, normalize_advantage=True, normalize_advantage_exclude_dims=[-2]
    )
    loss.set_keys(
        reward=(key, "reward"),
        action=(key, "action"),
        value=(key, "state_value"),
        sample_log_prob=(key, "action_log_prob"),
        done=(key, "done"),
        terminated=(key, "terminated"),
    )
    loss.make_value_estimator(gamma=0.95, lmbda=0.9)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
    before = [p.clone() for p in actor.parameters()]
    collector = Collector(
        env, actor, frames_per_batch=160, total_frames=480, auto_register_policy_transforms=True
    )
    seen = 0
    for data in collector:
        seen += data.numel()
        for flag in ("done", "terminated"):  # of all agents, as the loss wants them: by agent
            told = data["next", flag][..., None, :].expand(data["next", key, "reward"].shape)
            data.set(("next", key, flag), told)
        with torch.no_grad():
            loss.value_estimator(data)
        parts = loss(data.reshape(-1))
        total = sum(value for name, value in parts.items() if name.startswith("loss_"))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        assert torch.isfinite(total)
    collector.shutdown()
    assert seen == 480
    assert any(not torch.equal(a, b) for a, b in zip(before, actor.parameters(), strict=True))


def _mappo(env: SixgymTorchRLGame, key: str, agents: int) -> tuple[Any, Any]:
    """An actor that all agents share and a critic that sees what all of them see."""
    space = env.action_spec[key, "action"]
    sizes = {"depth": 1, "num_cells": 32, "share_params": True}
    net = MultiAgentMLP(
        env.observation_spec[key, "observation"].shape[-1],
        2 * space.shape[-1],
        agents,
        centralized=False,
        **sizes,
    )
    split = torch.nn.Sequential(net, _Split())
    actor = ProbabilisticActor(
        TensorDictModule(split, [(key, "observation")], [(key, "loc"), (key, "scale")]),
        in_keys=[(key, "loc"), (key, "scale")],
        out_keys=[(key, "action")],
        spec=env.full_action_spec,
        distribution_class=TanhNormal,
        distribution_kwargs={"low": space.space.low[0, 0], "high": space.space.high[0, 0]},
        return_log_prob=True,
        log_prob_key=(key, "action_log_prob"),
    )
    inputs = env.observation_spec[key, "observation"].shape[-1]
    values = MultiAgentMLP(inputs, 1, agents, centralized=True, **sizes)
    critic = TensorDictModule(values, [(key, "observation")], [(key, "state_value")])
    return actor, critic


class _Split(torch.nn.Module):
    def forward(self, both: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loc, raw = both.chunk(2, -1)
        return loc, torch.nn.functional.softplus(raw) + 1e-3

"""The TorchRL view: every id passes TorchRL's own check, tells what the others tell, and trains."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest
import torch

pytest.importorskip("torchrl")

from tensordict.nn import TensorDictModule
from torchrl.collectors import Collector
from torchrl.envs import ActionMask, TransformedEnv
from torchrl.envs.utils import check_env_specs
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from toy_systems import Counter, Gate, Tank

import sixgym
from sixgym.envs.core import registry
from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.torchrl_view import make_torchrl_env, space_spec
from sixgym.envs.core.worlds import row_seed

# TorchRL makes "spawn" the start method of the whole process, also for the tests of others.
multiprocessing.set_start_method(None, force=True)

SELECT = "sixgym/RisNomaSelect-v0"
IDS = [e.id for e in sixgym.entries() if e.id.startswith("sixgym/")]


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    before = dict(gym.registry)
    for system in (Counter, Gate, Tank):
        registry.register(f"toy/{system.__name__}-v0", system, max_episode_steps=6)
    yield
    gym.registry.clear()
    gym.registry.update(before)


@pytest.mark.parametrize("id", [*IDS, "toy/Counter-v0", "toy/Gate-v0", "toy/Tank-v0"])
def test_torchrls_own_check_passes(id: str) -> None:
    env = make_torchrl_env(id, 3, max_episode_steps=4)
    check_env_specs(env, seed=0)
    told = env.rollout(9, break_when_any_done=False)
    assert told.batch_size == (3, 9)
    assert told["next", "done"].any()


def test_it_tells_what_the_vector_environment_tells() -> None:
    """Also over ends: rows that are restarted by TorchRL begin their next episode, others go on."""
    view = make_torchrl_env("toy/Counter-v0", 5, seed=2)
    batch = gym.make_vec("toy/Counter-v0", 5, autoreset_mode="Disabled")
    seen, _ = batch.reset(seed=row_seed("train", 2))
    told = view.rollout(40, break_when_any_done=False)
    ends = 0
    for t in range(40):
        now = told[:, t]
        assert np.array_equal(now["observation"].numpy(), seen)
        seen, reward, terminated, truncated, infos = batch.step(now["action"].numpy())
        following = now["next"]
        assert np.array_equal(following["observation"].numpy(), seen)
        assert np.array_equal(following["reward"][:, 0].numpy(), reward)
        assert np.array_equal(following["terminated"][:, 0].numpy(), terminated)
        assert np.array_equal(following["truncated"][:, 0].numpy(), truncated)
        assert np.array_equal(following["metrics", "moved"][:, 0].numpy(), infos["moved"])
        ended = terminated | truncated
        if ended.any():
            ends += int(ended.sum())
            seen, _ = batch.reset(options={"reset_mask": ended})
    assert ends >= 20


def test_a_seed_is_a_block_of_worlds() -> None:
    env = make_torchrl_env(SELECT, 4, seed=3)
    first = env.reset()["observation"]
    again = make_torchrl_env(SELECT, 4)
    again.set_seed(3)
    assert torch.equal(again.reset()["observation"], first)
    again.set_seed(4)
    assert not torch.equal(again.reset()["observation"], first)
    assert not torch.equal(env.reset()["observation"], first)  # the next episode
    env.set_seed(2**32 - 1)  # as TorchRL makes for copies
    env.reset()


def test_masked_actions_are_not_taken() -> None:
    env = TransformedEnv(make_torchrl_env("toy/Gate-v0", 8), ActionMask())
    told = env.rollout(30, break_when_any_done=False)
    taken = told["action_mask"].gather(-1, told["action"][..., None])
    assert taken.all()


def test_ppo_trains_a_few_iterations_and_never_leaves_torch() -> None:
    torch.manual_seed(0)
    env = make_torchrl_env(SELECT, 16, seed=0, max_episode_steps=20)
    width, choices = env.observation_spec["observation"].shape[-1], env.action_spec.n
    net = torch.nn.Sequential(
        torch.nn.Linear(width, 32), torch.nn.Tanh(), torch.nn.Linear(32, choices)
    )
    actor = ProbabilisticActor(
        TensorDictModule(net, ["observation"], ["logits"]),
        in_keys=["logits"],
        spec=env.action_spec,
        distribution_class=torch.distributions.Categorical,
        return_log_prob=True,
    )
    critic = ValueOperator(torch.nn.Linear(width, 1), in_keys=["observation"])
    loss = ClipPPOLoss(actor, critic, normalize_advantage=True)
    loss.make_value_estimator(gamma=0.95, lmbda=0.9)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
    before = [p.clone() for p in actor.parameters()]
    collector = Collector(
        env, actor, frames_per_batch=320, total_frames=960, auto_register_policy_transforms=True
    )
    seen = 0
    for data in collector:
        seen += data.numel()
        with torch.no_grad():
            loss.value_estimator(data)
        parts = loss(data.reshape(-1))
        total = sum(value for key, value in parts.items() if key.startswith("loss_"))
        assert torch.isfinite(total)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    collector.shutdown()
    assert seen == 960
    assert any(not torch.equal(a, b) for a, b in zip(before, actor.parameters(), strict=True))


def test_a_space_without_a_spec_is_refused() -> None:
    with pytest.raises(OptionsError, match="no spec for Discrete"):
        space_spec(gym.spaces.Discrete(3, start=1), torch.Size([2]), None)

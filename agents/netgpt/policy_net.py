"""PolicyNet: a network from what is seen to the threshold of a slot [name: paper; the rest ours].

Three ways to train it are offered, two of them here (the third is PPO on the environment):

- ``imitate``: regression to the exact threshold;
- ``soft``: pathwise, through a soft threshold: a request is offloaded with probability
  sigma((tau - s)/T), and the mean of the two expected utilities so weighed is made large while the
  temperature T falls. Counterfactual utilities are exact here, because both agents' outcomes are
  drawn before the action.

A monotone network has non-negative weights behind its first layer, and there non-negative ones of
bandwidth and non-positive ones of RTT and price: its threshold rises with the one and falls with
the others whatever it has learned. All are saved as plain policies with a sigmoid at the end, but
for one that PPO can go on with: its end is linear, its layers are PPO's.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sixgym.agents.policies import Architecture, NeuralPolicy
from sixgym.baselines.netgpt.targets import counterfactuals, threshold_targets
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.registry import entry
from sixgym.envs.core.worlds import row_seed

if TYPE_CHECKING:
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv

ID = "sixgym/NetGptThreshold-v0"
HIDDEN = (32, 32)
PPO_HIDDEN = (64, 64)
RISING, FALLING = (0,), (1, 2, 3)
"""Rows of the observation: bandwidth; RTT, price multiplier, price."""
NO_NOISE = -20.0
"""Logarithm of the deviation of a policy that has none."""
COLD, HOT = 0.02, 0.1
"""Temperatures of the soft threshold at the end and at the beginning."""

Way = Literal["soft", "imitate"]


class Recipe(NamedTuple):
    """How a network is trained; the defaults are the dossier's sizes or larger."""

    way: Way = "soft"
    is_monotone: bool = False
    updates: int = 3000
    slots: int = 256
    """Slots of an update."""
    learning_rate: float = 1e-3
    is_linear: bool = False
    """Whether the last layer is the threshold itself, clipped as in PPO; else it has a sigmoid."""
    hidden: tuple[int, ...] = HIDDEN
    preset: str | None = None
    """Of the environment."""
    rows: int = 64
    """Episodes that the slots are of."""
    steps: int = 200
    """Slots of each."""
    played: tuple[float, float] = (0.5, 0.5)
    """Thresholds that are played meanwhile, evenly from the first row to the last: where the edge
    learns, they decide how far it has come."""


RECIPES: dict[str, Recipe] = {
    "policy_net": Recipe(),
    "policy_net_imitates": Recipe(way="imitate"),
    "policy_net_monotone": Recipe(is_monotone=True),
    "policy_net_learning": Recipe(
        updates=6000,
        is_linear=True,
        hidden=PPO_HIDDEN,
        preset="learning",
        rows=256,
        steps=400,
        played=(0.35, 0.75),
    ),
}


class Slots(NamedTuple):
    """Slots of the world, (slots, ...) float32."""

    seen: Tensor
    """Observations, (slots, 16)."""
    score: Tensor
    """(slots, width); 2 where there is no request, which no threshold reaches."""
    keep: Tensor
    """Expected utility at the edge; 0 where there is no request."""
    offload: Tensor
    """Expected utility in the cloud; 0 where there is no request."""
    target: Tensor
    """(slots,) exact threshold."""


def collect(recipe: Recipe, seed: int, **params: Any) -> Slots:
    """Slots of the training world.

    Args:
        recipe: how many, and what is played.
        seed: block of the training world.
        **params: of `sixgym/NetGptThreshold-v0`, beside the recipe's preset.
    """
    rows = recipe.rows
    env = _make_env(recipe, rows, **params)
    first = row_seed("train", seed)
    seen, _ = env.reset(seed=[first + i for i in range(rows)])
    action = np.linspace(*recipe.played, rows, dtype=np.float32)[:, None]
    found: list[tuple[NDArray[Any], ...]] = []
    for _ in range(recipe.steps):
        state = env.rows.state
        both = counterfactuals(env.system, state)
        there = both.is_there
        found.append(
            (
                seen,
                np.where(there, both.score, 2.0),
                np.where(there, both.keep, 0.0),
                np.where(there, both.offload, 0.0),
                threshold_targets(env.system, state),
            )
        )
        seen, *_ = env.step(action)
    env.close()
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    return Slots(*(torch.from_numpy(c).to(torch.float32) for c in columns))


def _make_env(recipe: Recipe, rows: int, **params: Any) -> SixgymVectorEnv:
    """The environment of a recipe, without a time limit."""
    return make_vector_env(
        entry(ID).system, rows, max_episode_steps=None, preset=recipe.preset, **params
    )


class _Net(nn.Module):
    """The network while it learns; its weights may be those of a monotone one."""

    def __init__(self, inputs: int, recipe: Recipe) -> None:
        super().__init__()
        sizes = [inputs, *recipe.hidden, 1]
        layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        self.is_monotone, self.is_linear = recipe.is_monotone, recipe.is_linear
        with torch.no_grad():
            if (
                self.is_monotone
            ):  # softplus of these is small: sums of many positive weights saturate
                for layer in layers[1:]:
                    layer.weight.sub_(3.0)
            else:
                layers[-1].weight.mul_(0.01)
            layers[-1].bias.fill_(0.5 if self.is_linear else 0.0)
        self.raw = nn.ParameterList([layer.weight for layer in layers])
        self.biases = nn.ParameterList([layer.bias for layer in layers])

    def weights(self) -> list[Tensor]:
        """The weights in effect."""
        raw = list(self.raw)
        if not self.is_monotone:
            return raw
        first = raw[0].clone()
        first[:, RISING] = functional.softplus(raw[0][:, RISING])
        first[:, FALLING] = -functional.softplus(raw[0][:, FALLING])
        return [first, *(functional.softplus(w) for w in raw[1:])]

    def forward(self, x: Tensor) -> Tensor:
        """(slots,) thresholds."""
        for i, (weight, bias) in enumerate(zip(self.weights(), self.biases, strict=True)):
            x = functional.linear(torch.tanh(x) if i else x, weight, bias)
        return x[:, 0] if self.is_linear else torch.sigmoid(x[:, 0])


def loss_of(recipe: Recipe, tau: Tensor, batch: Slots, done: float) -> Tensor:
    """What is made small; a number.

    Args:
        recipe: which way.
        tau: (slots,) thresholds.
        batch: the slots.
        done: share of the training that is over, by which the soft threshold gets harder.
    """
    if recipe.way == "imitate":
        return functional.mse_loss(tau, batch.target)
    temperature = HOT * (COLD / HOT) ** done
    away = torch.sigmoid((tau.unsqueeze(1) - batch.score) / temperature)
    there = (batch.score <= 1.0).sum(1).clamp_min(1)
    worth = ((1.0 - away) * batch.keep + away * batch.offload).sum(1) / there
    return -worth.mean()


def train(recipe: Recipe, seed: int, slots: Slots | None = None, **params: Any) -> NeuralPolicy:
    """A trained network as a policy of `sixgym/NetGptThreshold-v0`.

    Args:
        recipe: how.
        seed: of the network, the order of slots, and the block of the training world.
        slots: to train on; None collects them.
        **params: of the environment.
    """
    data = collect(recipe, seed, **params) if slots is None else slots
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _Net(data.seen.shape[1], recipe)
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
    for update in range(recipe.updates):
        chosen = torch.randint(len(data.seen), (recipe.slots,), generator=generator)
        batch = Slots(*(part[chosen] for part in data))
        loss = loss_of(recipe, net(batch.seen), batch, update / recipe.updates)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    env = _make_env(recipe, 1, **params)
    system = env.system
    env.close()
    return _as_policy(net, system, list(recipe.hidden))


def _as_policy(net: _Net, system: System[Any, Any], hidden: list[int]) -> NeuralPolicy:
    """The same function as a policy; what is no linear end goes through a tanh to the bounds."""
    architecture = Architecture(
        hidden=hidden,
        activation="tanh",
        head="distribution" if net.is_linear else "deterministic",
    )
    policy = NeuralPolicy(architecture, system.observation_space, system.action_space)
    tensors: dict[str, Tensor] = {}
    if net.is_linear:
        tensors["log_std"] = torch.full((1,), NO_NOISE)
    for i, (weight, bias) in enumerate(zip(net.weights(), net.biases, strict=True)):
        is_last = i == len(net.biases) - 1
        name = "head" if is_last else f"hidden.{2 * i}"
        # sigmoid(x) = (tanh(x / 2) + 1) / 2
        scale = 0.5 if is_last and not net.is_linear else 1.0
        tensors[f"{name}.weight"] = scale * weight.detach()
        tensors[f"{name}.bias"] = scale * bias.detach()
    policy.load_state_dict(tensors)
    return policy

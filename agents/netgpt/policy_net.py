"""PolicyNet: a network from what is seen to the threshold of a slot [name: paper; the rest ours].

Three ways to train it are offered, two of them here (the third is PPO on the environment):

- ``imitate``: regression to the exact threshold;
- ``soft``: pathwise, through a soft threshold: a request is offloaded with probability
  sigma((tau - s)/T), and the mean of the two expected utilities so weighed is made large while the
  temperature T falls. Counterfactual utilities are exact here, because both agents' outcomes are
  drawn before the action.

A monotone network has non-negative weights behind its first layer, and there non-negative ones of
bandwidth and non-positive ones of RTT and price: its threshold rises with the one and falls with
the others whatever it has learned. All are saved as plain policies with a sigmoid at the end.
"""

from __future__ import annotations

import itertools
from typing import Any, Literal, NamedTuple

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

ID = "sixgym/NetGptThreshold-v0"
HIDDEN = (32, 32)
RISING, FALLING = (0,), (1, 2, 3)
"""Rows of the observation: bandwidth; RTT, price multiplier, price."""
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


RECIPES: dict[str, Recipe] = {
    "policy_net": Recipe(),
    "policy_net_imitates": Recipe(way="imitate"),
    "policy_net_monotone": Recipe(is_monotone=True),
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


def collect(rows: int, steps: int, seed: int, **params: Any) -> Slots:
    """Slots of the training world; without self-improvement they do not depend on the actions.

    Args:
        rows: episodes side by side.
        steps: slots of each.
        seed: block of the training world.
        **params: of `sixgym/NetGptThreshold-v0`.
    """
    env = make_vector_env(entry(ID).system, rows, max_episode_steps=None, **params)
    first = row_seed("train", seed)
    seen, _ = env.reset(seed=[first + i for i in range(rows)])
    action = np.full((rows, 1), 0.5, dtype=np.float32)
    found: list[tuple[NDArray[Any], ...]] = []
    for _ in range(steps):
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


class _Net(nn.Module):
    """The network while it learns; its weights may be those of a monotone one."""

    def __init__(self, inputs: int, *, is_monotone: bool) -> None:
        super().__init__()
        sizes = [inputs, *HIDDEN, 1]
        layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        self.is_monotone = is_monotone
        with torch.no_grad():
            if is_monotone:  # softplus of these is small: sums of many positive weights saturate
                for layer in layers[1:]:
                    layer.weight.sub_(3.0)
            else:
                layers[-1].weight.mul_(0.01)
            layers[-1].bias.zero_()
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
        return torch.sigmoid(x[:, 0])


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
    data = collect(64, 200, seed, **params) if slots is None else slots
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _Net(data.seen.shape[1], is_monotone=recipe.is_monotone)
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
    for update in range(recipe.updates):
        chosen = torch.randint(len(data.seen), (recipe.slots,), generator=generator)
        batch = Slots(*(part[chosen] for part in data))
        loss = loss_of(recipe, net(batch.seen), batch, update / recipe.updates)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _as_policy(net, **params)


def _as_policy(net: _Net, **params: Any) -> NeuralPolicy:
    """The same function as a policy whose last layer goes through a tanh to the bounds."""
    env = make_vector_env(entry(ID).system, 1, max_episode_steps=None, **params)
    system = env.system
    env.close()
    architecture = Architecture(hidden=list(HIDDEN), activation="tanh", head="deterministic")
    policy = NeuralPolicy(architecture, system.observation_space, system.action_space)
    tensors: dict[str, Tensor] = {}
    for i, (weight, bias) in enumerate(zip(net.weights(), net.biases, strict=True)):
        is_last = i == len(net.biases) - 1
        name, scale = ("head", 0.5) if is_last else (f"hidden.{2 * i}", 1.0)
        # sigmoid(x) = (tanh(x / 2) + 1) / 2
        tensors[f"{name}.weight"] = scale * weight.detach()
        tensors[f"{name}.bias"] = scale * bias.detach()
    policy.load_state_dict(tensors)
    return policy

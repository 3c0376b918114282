"""Regulated segment mixture: agents swap pieces of their policies, and mix where it should help.

After an update every agent puts a reference policy together from segments of its neighbours'
parameters and moves towards it, theta + zeta (theta_ref - theta), by the factor that a lower bound
of the improvement likes best; where the bound promises none it keeps its own. With the directional
derivative d = grad log pi(a|o) . (theta_ref - theta) of a sampled move, A its advantage and w its
importance ratio, the bound of second order is

    zeta E[w A d] - (c / 2) zeta^2 E[w d^2],

the gain of the surrogate objective less c times the Kullback-Leibler divergence (whose Hessian is
the Fisher matrix). zeta = E[w A d] / (c E[w d^2]), kept between 0 and its largest value.

The scheme is that of RSM-MAPPO, arXiv 2308.04198, of which the abstract was read [related]; the
bound's form and c are ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from sixgym.agents.algorithms import Mixing
from sixgym.agents.team.nets import SeatNets
from sixgym.envs.core.errors import ConfigError

if TYPE_CHECKING:
    from sixgym.agents.team.nets import Seen, TeamActor
    from sixgym.agents.team.policy import MAPPO


class Promise(NamedTuple):
    """What mixing should do to each agent, (agents,) each."""

    factor: Tensor
    """zeta; 0 where nothing is promised."""
    gain: Tensor
    """The bound at zeta."""


def promise(slope: Tensor, curvature: Tensor, *, largest: float, penalty: float) -> Promise:
    """The factor that the bound likes best, and what it promises.

    Args:
        slope: (agents,) E[w A d].
        curvature: (agents,) E[w d^2], not negative.
        largest: largest factor.
        penalty: c.
    """
    # Where the policy would not change the factor does not matter.
    best = slope / (penalty * curvature).clamp_min(1e-12)
    factor = torch.where(slope > 0, best, 0.0).clamp(0.0, largest)
    return Promise(factor, factor * slope - 0.5 * penalty * factor**2 * curvature)


def references(
    own: Tensor, *, segments: int, neighbours: int, draw: np.random.RandomState
) -> Tensor:
    """(agents, parameters) of policies put together from segments of the neighbours' own.

    Args:
        own: (agents, parameters).
        segments: pieces of nearly equal length.
        neighbours: nearest agents on a ring, half of them on each side, at most all others.
        draw: who gives which segment.
    """
    agents, size = own.shape
    offsets = [s * k for k in range(1, agents) for s in (1, -1)][:neighbours]
    bounds = np.linspace(0, size, segments + 1).astype(int)
    mixed = own.clone()
    for agent in range(agents):
        for first, last in itertools.pairwise(bounds):
            giver = (agent + offsets[draw.randint(len(offsets))]) % agents
            mixed[agent, first:last] = own[giver, first:last]
    return mixed


class _LogProb(nn.Module):
    """The actor's log-probabilities as a module's output."""

    def __init__(self, actor: TeamActor) -> None:
        super().__init__()
        self.actor = actor

    def forward(self, seen: Seen, moves: Mapping[str, Tensor], notes: Tensor | None) -> Tensor:
        return self.actor.judge(seen, moves, notes).log_prob


class SegmentMixer:
    """Mixes the policies of agents whose parameters lie side by side.

    Args:
        settings: see `sixgym.agents.algorithms.Mixing`.
        actor: of the team.
        prefix: parameters of the actor that belong to agents, (agents, ...) each.
        seats: of these agents.

    Raises:
        ConfigError: there are no such parameters: all share one policy.
    """

    def __init__(self, settings: Mixing, actor: TeamActor, *, prefix: str, seats: slice) -> None:
        names = [n for n, _ in actor.named_parameters() if n.startswith(prefix)]
        shapes = {n: p.shape for n, p in actor.named_parameters() if n in names}
        agents = seats.stop - seats.start
        own = isinstance(getattr(actor, prefix.removesuffix("."), None), SeatNets)
        if not own or any(s[0] != agents for s in shapes.values()) or agents < 2:
            raise ConfigError("mixing: allowed where each of at least 2 users has its own policy")
        self.settings, self.seats, self.names = settings, seats, names

    def __call__(self, model: MAPPO) -> dict[str, float]:
        """Mix if it is time; what was done, for the log.

        Args:
            model: after an update, its rollout still in the buffer.
        """
        rollouts = model.num_timesteps // (model.n_steps * model.n_envs)
        if rollouts % self.settings.every:
            return {}
        policy: Any = model.policy
        actor, chosen = policy.actor, self.settings
        parameters = dict(actor.named_parameters())
        own = torch.cat([parameters[n].detach().flatten(1) for n in self.names], 1)
        draw = np.random.mtrand._rand  # SB3 seeds it, and checkpoints keep its state
        wanted = references(own, segments=chosen.segments, neighbours=chosen.neighbours, draw=draw)
        slope, curvature = self._moments(model, wanted - own)
        found = promise(slope, curvature, largest=chosen.largest, penalty=chosen.penalty)
        mixed = own + found.factor.unsqueeze(1) * (wanted - own)
        with torch.no_grad():
            for name, part in zip(self.names, self._parts(mixed, parameters), strict=True):
                parameters[name].copy_(part)
        return {
            "mixing/agents": float((found.factor > 0).float().mean()),
            "mixing/factor": float(found.factor.mean()),
            "mixing/promised": float(found.gain.mean()),
            "mixing/parameters_sent": float(wanted.numel()),
        }

    def _parts(self, flat: Tensor, parameters: Mapping[str, Tensor]) -> list[Tensor]:
        """Flat parameters (agents, size) in the shapes of the actor's."""
        shapes = [parameters[n].shape for n in self.names]
        sizes = [int(np.prod(s[1:])) for s in shapes]
        return [p.reshape(s) for p, s in zip(flat.split(sizes, 1), shapes, strict=True)]

    @torch.no_grad()
    def _moments(self, model: MAPPO, direction: Tensor) -> tuple[Tensor, Tensor]:
        """E[w A d] and E[w d^2] of each agent over the last rollout."""
        policy: Any = model.policy
        batch = next(model.rollout_buffer.get(None))
        seen = policy._seen(batch.observations)
        moves, notes = policy._moves(batch.actions)
        parameters = dict(policy.actor.named_parameters())
        parts = self._parts(direction, parameters)
        tangent = {n: torch.zeros_like(p) for n, p in parameters.items()}
        tangent |= dict(zip(self.names, parts, strict=True))
        module = _LogProb(policy.actor)

        def log_prob(values: dict[str, Tensor]) -> Tensor:
            named = {f"actor.{k}": v for k, v in values.items()}
            result: Tensor = functional_call(module, named, (seen, moves, notes))
            return result

        plain = {n: p.detach() for n, p in parameters.items()}
        with sdpa_kernel(SDPBackend.MATH):  # the fast kernel has no forward derivative
            now, slope, *_ = jvp(log_prob, (plain,), (tangent,))
        there = seen["alive"] > 0
        advantage, old = torch.zeros_like(now), torch.zeros_like(now)
        advantage[there], old[there] = batch.advantages, batch.old_log_prob
        weight = (now - old).exp() * there
        count = there.sum(0).clamp_min(1)
        linear = (weight * advantage * slope).sum(0) / count
        square = (weight * slope**2).sum(0) / count
        return linear[self.seats], square[self.seats]

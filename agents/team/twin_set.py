"""TwinSync by attention over agents and regions: one policy for any number of both.

An agent in a stage of its cycle sets its numbers by what it knows of itself and of its region. An
idle one looks at regions and other agents as a set and points at a region, or at staying.

Idle agents that see the same choose the same. At the start all are idle, and what they see differs
by their places only; so a deterministic team sends too many to one region unless somebody is told
what the others choose. With ``head="autoregressive"`` the agents of a slot choose in the order of
their seats, each knowing how many of those before it chose each region: the base station that
orchestrates them decides for all (centralised execution). With ``"independent"`` each decides by
what it sees itself (decentralised execution), and only samples, or places, tell equals apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sixgym.agents.hybrid import Numbers, flat_action, numbers_of, of_flat, or_first, prior_logits
from sixgym.agents.team.choices import Choice, choose_among
from sixgym.agents.team.nets import (
    ALIVE,
    Acted,
    Judged,
    Seen,
    SetEncoder,
    TeamActor,
    TeamCritic,
    check_choice,
    check_size,
    linear,
    mlp,
    of_the_seated,
)
from sixgym.agents.team.twin_sight import Sight, Sights
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.game import Game
from sixgym.envs.twin_mobility.actions import CONTROLS

Head = Literal["autoregressive", "independent"]
NUM_CONTROLS = len(CONTROLS)
_REGION, _GLOB, _OTHER = 10, 3, 10
"""Features of a region, of the whole, and of another agent."""


class TwinActor(TeamActor):
    """Agents of `sixgym/TwinSync-v0`.

    Args:
        game: with ``mask_in_obs=True`` and flat actions.
        width: of the hidden layers.
        company: numbers that sum up the agents with the same target.
        blocks: blocks of attention among regions and other agents, for who is idle.
        heads: of the attention.
        head: see the module.
        prior: medians of the seven numbers to begin with; 1/2 if left out.
        log_std: of the numbers' logits, to begin with.
        entropy_of_numbers: weight of their entropies beside the choice's.

    Raises:
        PolicyError: another game, or a wrong size.
    """

    def __init__(
        self,
        game: Game[Any, Any],
        *,
        width: int = 64,
        company: int = 16,
        blocks: int = 1,
        heads: int = 2,
        head: Head = "autoregressive",
        prior: Sequence[float] | None = None,
        log_std: float = -0.7,
        entropy_of_numbers: float = 0.1,
    ) -> None:
        super().__init__(game)
        self.sights = Sights(game)
        for name, value, least in (
            ("width", width, 1),
            ("company", company, 1),
            ("blocks", blocks, 0),
            ("heads", heads, 1),
        ):
            check_size(name, value, least)
        if width % heads:
            raise PolicyError(f"heads={heads}: allowed: divisors of width={width}")
        check_choice("head", head, get_args(Head))
        self.is_told = head == "autoregressive"
        self.entropy_of_numbers = float(entropy_of_numbers)
        context = self.sights.own_features + _GLOB
        self.company = nn.Sequential(linear(_OTHER, company), nn.Tanh())
        self.control = mlp([context + _REGION + company + 1, width, width, NUM_CONTROLS], gain=0.01)
        self.log_std = nn.Parameter(torch.full((NUM_CONTROLS,), float(log_std)))
        self.tokens = SetEncoder(_OTHER + _REGION + company + 1 + context, width, blocks, heads)
        self.point = mlp([width + 2 * self.is_told, width, 1], gain=0.01)
        self.stay = mlp([width, width, 1], gain=0.01)
        if prior is not None:
            if len(prior) != NUM_CONTROLS or not all(0.0 <= u <= 1.0 for u in prior):
                raise PolicyError(f"prior={prior}: allowed: {NUM_CONTROLS} numbers in [0, 1]")
            last = self.control[-1]
            assert isinstance(last, nn.Linear)
            with torch.no_grad():
                last.bias.copy_(prior_logits(prior))

    @property
    def num_uniforms(self) -> int:
        """A choice and seven numbers for each agent."""
        return self.game.num_seats * (1 + NUM_CONTROLS)

    def act(self, seen: Seen, uniform: Tensor, deterministic: bool) -> Acted:
        """Moves of all; see `TeamActor`."""
        sight = self.sights(seen)
        drawn = uniform.unflatten(1, (-1, 1 + NUM_CONTROLS))
        company = self._company(sight)
        chosen, log_prob = self._choose(sight, company, drawn[..., 0], deterministic)
        heading = self._heading(sight, chosen)
        numbers = self._numbers(sight, company, heading)
        u = numbers.pick(drawn[..., 1:], deterministic)
        move = flat_action(chosen, u, sight.allowed.shape[-1])
        _, u = of_flat(move, sight.allowed.shape[-1])  # as `judge` will read it
        log_prob = log_prob + (numbers.log_prob(u) * self.sights.readable(sight, heading)).sum(-1)
        return Acted({self.sights.group: move}, of_the_seated(log_prob, seen[ALIVE]))

    def judge(self, seen: Seen, moves: Mapping[str, Tensor], notes: Tensor | None = None) -> Judged:
        """How likely moves are; see `TeamActor`."""
        sight = self.sights(seen)
        chosen, u = of_flat(moves[self.sights.group], sight.allowed.shape[-1])
        company = self._company(sight)
        heading = self._heading(sight, chosen)
        numbers = self._numbers(sight, company, heading)
        read = self.sights.readable(sight, heading)
        log_prob = (numbers.log_prob(u) * read).sum(-1)
        entropy = self.entropy_of_numbers * (numbers.entropy() * read).sum(-1)
        idle = sight.counts[..., 0] > 0.5
        if bool(idle.any()):
            embedded = self._embedded(sight.of(idle), company[idle])
            before = self._before(sight, chosen)[idle]
            choice = self._choice(embedded, sight.allowed[idle], before)
            log_prob = log_prob.masked_scatter(idle, log_prob[idle] + choice.log_prob(chosen[idle]))
            entropy = entropy.masked_scatter(idle, entropy[idle] + choice.entropy())
        alive = seen[ALIVE]
        return Judged(of_the_seated(log_prob, alive), of_the_seated(entropy, alive))

    # ------------------------------------------------------------------------------ who sets out

    def _choose(
        self, sight: Sight, company: Tensor, uniform: Tensor, deterministic: bool
    ) -> tuple[Tensor, Tensor]:
        """What idle agents choose, 0 or one more than a region, and how likely that was.

        Returns:
            (rows, agents) int64 and float32, 0 for all others.
        """
        idle = sight.counts[..., 0] > 0.5
        chosen, log_prob = idle.long() * 0, idle.float() * 0
        if not bool(idle.any()):
            return chosen, log_prob
        embedded = self._embedded(sight.of(idle), company[idle])
        allowed, drawn = sight.allowed[idle], uniform[idle]
        row, seat = idle.nonzero(as_tuple=True)
        so_far = torch.zeros_like(sight.target[:, 0])
        for turn in self._turns(seat):
            choice = self._choice(embedded[turn], allowed[turn], so_far[row[turn]])
            picked = choice.pick(drawn[turn], deterministic)
            chosen[row[turn], seat[turn]] = picked
            log_prob[row[turn], seat[turn]] = choice.log_prob(picked)
            so_far[row[turn]] += _of_choice(picked, allowed.shape[-1])
        return chosen, log_prob

    def _turns(self, seat: Tensor) -> list[Tensor]:
        """Which of the idle agents choose together: all, or those of a seat."""
        if not self.is_told:
            return [torch.arange(len(seat), device=seat.device)]
        return [(seat == one).nonzero()[:, 0] for one in seat.unique()]

    def _before(self, sight: Sight, chosen: Tensor) -> Tensor:
        """(rows, agents, regions) how many idle agents on earlier seats chose each region."""
        count = self._heading(sight._replace(target=torch.zeros_like(sight.target)), chosen)
        return count.cumsum(1) - count

    def _embedded(self, sight: Sight, company: Tensor) -> Tensor:
        """(agents, regions, width) of idle agents."""
        regions, others = sight.region.shape[1], sight.other.shape[1]
        context = torch.cat([sight.own, sight.glob], -1).unsqueeze(1)
        nobody = sight.other.new_zeros(len(context), regions, _OTHER)
        about = torch.cat([sight.region, company], -1)
        place = torch.cat(
            [nobody, about, torch.ones_like(about[..., :1]), context.expand(-1, regions, -1)], -1
        )
        aim = torch.cat([sight.other_target @ about, torch.zeros_like(sight.other[..., :1])], -1)
        person = torch.cat([sight.other, aim, context.expand(-1, others, -1)], -1)
        members = torch.cat([place, person], 1)
        found: Tensor = self.tokens(members, members.new_ones(members.shape[:2]).bool())
        return found[:, :regions]

    def _choice(self, embedded: Tensor, allowed: Tensor, before: Tensor) -> Choice:
        """Staying, or a region, (agents, regions + 1).

        Args:
            embedded: (agents, regions, width).
            allowed: (agents, regions + 1).
            before: (agents, regions) how many before it chose each region.
        """
        region = embedded
        if self.is_told:
            told = torch.stack([before, (before > 0).to(before)], -1)
            region = torch.cat([embedded, told], -1)
        logits = torch.cat([self.stay(embedded.mean(1)), self.point(region).squeeze(-1)], -1)
        return choose_among(logits, or_first(allowed > 0.5))

    # --------------------------------------------------------------------------- how they do it

    def _heading(self, sight: Sight, chosen: Tensor) -> Tensor:
        """(rows, agents, regions) 1 at the target, or where an idle agent sets out for."""
        idle = sight.counts[..., :1] > 0.5
        return torch.where(idle, _of_choice(chosen, sight.allowed.shape[-1]), sight.target)

    def _company(self, sight: Sight) -> Tensor:
        """(rows, agents, regions, company) of the others by their targets."""
        summed: Tensor = sight.other_target.transpose(-1, -2) @ self.company(sight.other)
        return summed

    def _numbers(self, sight: Sight, company: Tensor, heading: Tensor) -> Numbers:
        """The seven numbers of all, (rows, agents, 7)."""
        about = torch.cat([sight.region, company], -1)
        goal = (heading.unsqueeze(-2) @ about).squeeze(-2)
        goes = heading.sum(-1, keepdim=True)
        raw = self.control(torch.cat([sight.own, sight.glob, goal, goes], -1))
        return numbers_of(raw, self.log_std)


class TwinCritic(TeamCritic):
    """Values of the agents.

    Args:
        game: as of the actor.
        central: whether everybody's value is of what all see; otherwise of what the agent itself
            sees.
        width: of the hidden layers.
        company: as of the actor.
        **of_actor: sizes that only the actor has.
    """

    def __init__(
        self,
        game: Game[Any, Any],
        *,
        central: bool,
        width: int = 64,
        company: int = 16,
        **of_actor: Any,
    ) -> None:
        super().__init__()
        self.sights = Sights(game)
        self.central = central
        own = self.sights.own_features + _REGION + 1
        if central:
            self.agent = mlp([own, width, width])
            self.region = mlp([_REGION + width, width, width])
            self.value = mlp([3 * width + _GLOB, width, 1])
        else:
            self.other = nn.Sequential(linear(_OTHER, company), nn.Tanh())
            self.region = mlp([_REGION + company, width, width])
            self.value = mlp([2 * width + own + _GLOB, width, 1])
        # What an agent is paid for its own packets is a value of its own.
        self.has_own = central and self.sights.params.reward_mode == "credit"
        if self.has_own:
            self.share = linear(width, 1)

    def forward(self, before: Seen, after: Seen) -> Tensor:
        """(rows, agents) values; see `TeamCritic`."""
        sight = self.sights(before)
        goal = (sight.target.unsqueeze(-2) @ sight.region).squeeze(-2)
        own = torch.cat([sight.own, goal, sight.target.sum(-1, keepdim=True)], -1)
        if not self.central:
            company = sight.other_target.transpose(-1, -2) @ self.other(sight.other)
            region = torch.tanh(self.region(torch.cat([sight.region, company], -1)))
            parts = [region.mean(-2), region.amax(-2), own, sight.glob]
            alone: Tensor = self.value(torch.cat(parts, -1)).squeeze(-1)
            return alone
        agent = torch.tanh(self.agent(own))
        sent = sight.target.transpose(1, 2) @ agent
        # Places are relative to whoever looks.
        centre = sight.own[:, :1, :2] + sight.region[:, 0, :, :2]
        nearest = sight.region[..., 2:3].amin(1)
        known = torch.cat([centre, nearest, sight.region[:, 0, :, 3:]], -1)
        region = torch.tanh(self.region(torch.cat([known, sent], -1)))
        parts = [region.mean(1), region.amax(1), agent.mean(1), sight.glob[:, 0]]
        value: Tensor = self.value(torch.cat(parts, -1)).expand(-1, agent.shape[1])
        return value + self.share(agent).squeeze(-1) if self.has_own else value


def _of_choice(chosen: Tensor, n: int) -> Tensor:
    """(..., n - 1) float32: 1 at the region that was chosen, 0 everywhere for staying."""
    regions = torch.arange(1, n, device=chosen.device)
    return (chosen.unsqueeze(-1) == regions).to(torch.float32)

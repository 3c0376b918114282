"""What the agents of `sixgym/TwinSync-v0` see, in parts, and what a slot can read of a move."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sixgym.agents.hybrid import COMPONENT_MASK, REGION_MASK
from sixgym.agents.team.nets import Seen
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.game import Game
from sixgym.envs.twin_mobility.cycle import work_per_bit
from sixgym.envs.twin_mobility.observation import BITS_REF, CPU_REF, OTHER
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.state import IDLE, MOVE, NUM_STAGES, PROC, REPOS, SENSE, TX
from sixgym.envs.twin_mobility.sync import TwinSync

_ROUNDING = 1e-3
"""Share by which reaches are taken longer: no rounding of an observation may cut them short."""


class Sight(NamedTuple):
    """What every agent sees; regions are told by their places in it, never by their numbers."""

    own: Tensor
    """(..., own) of itself, without its target."""
    target: Tensor
    """(..., regions) 1 at its target, if it has one."""
    region: Tensor
    """(..., regions, 10)."""
    glob: Tensor
    """(..., 3)."""
    other: Tensor
    """(..., others, 10): place, stage as one of seven, battery."""
    other_target: Tensor
    """(..., others, regions) 1 at their targets."""
    allowed: Tensor
    """(..., regions + 1), 1 where a choice is allowed."""
    counts: Tensor
    """(..., 8), 1 where a component can be read in the stage of now."""

    def of(self, who: Tensor) -> Sight:
        """Of some of the agents only, (chosen, ...).

        Args:
            who: (rows, agents) bool.
        """
        return Sight(*(part[who] for part in self))


def game_of_twins(game: Game[Any, Any]) -> TwinSync:
    """The game as TwinSync with masks in what is seen, and flat actions.

    Raises:
        PolicyError: it is another one, or other spaces.
    """
    if not isinstance(game, TwinSync):
        raise PolicyError(f"{type(game).__name__}: allowed: the system of sixgym/TwinSync-v0")
    p = game.params
    if not p.mask_in_obs or p.action_mode != "flat":
        raise PolicyError(
            f"mask_in_obs={p.mask_in_obs}, action_mode={p.action_mode!r}: allowed: True, 'flat'"
        )
    return game


class Sights:
    """Takes observations of `sixgym/TwinSync-v0` apart.

    Args:
        game: whose agents.
    """

    def __init__(self, game: Game[Any, Any]) -> None:
        twins = game_of_twins(game)
        self.params: TwinSyncParams = twins.params
        self.group = twins.groups[0].name
        self.layout = twins.observer.layout
        target = self.layout.target
        self._rest = [i for i in range(self.layout.own_size) if not target.start <= i < target.stop]

    @property
    def own_features(self) -> int:
        """Numbers of `Sight.own`."""
        return len(self._rest)

    @property
    def others(self) -> int:
        """How many others an agent sees."""
        return self.layout.num_agents - 1 if self.layout.observe_others else 0

    def __call__(self, seen: Seen) -> Sight:
        """The parts of what all see, (rows, agents, ...)."""
        at, regions = self.layout, self.params.num_regions
        whole = seen[f"{self.group}.observation"]
        own = whole[..., at.own]
        other = whole[..., at.others].unflatten(-1, (self.others, OTHER))
        stage = (other[..., 2] * (NUM_STAGES - 1)).round().long()
        aim = (other[..., 3] * regions).round().long()
        return Sight(
            own=own[..., self._rest],
            target=own[..., at.target][..., :-1],
            region=whole[..., at.regions].unflatten(-1, (regions, -1)),
            glob=whole[..., at.glob],
            other=torch.cat(
                [other[..., :2], one_hot(stage, NUM_STAGES).to(own), other[..., 4:]], -1
            ),
            other_target=one_hot(aim, regions + 1)[..., 1:].to(own),
            allowed=seen[f"{self.group}.{REGION_MASK}"],
            counts=seen[f"{self.group}.{COMPONENT_MASK}"],
        )

    def readable(self, sight: Sight, heading: Tensor) -> Tensor:
        """Which numbers the environment can read in this slot, (..., 7), 1 or 0.

        The component mask tells what a slot that begins in a stage might read. How far it is, how
        long it takes and how fast the agent can be tell more: who is further from a region than a
        slot's way will not begin to sense in it, and so on along the stages. Numbers that cannot
        be read change nothing, so that their noise is kept out of the gradient; most are read in
        one slot of a cycle of forty.

        Args:
            sight: of the agents.
            heading: (..., regions) 1 at the target, or where an idle agent now sets out for.
        """
        p = self.params
        stage = self._part(sight, "stage") > 0.5
        idle, move, sense, proc, repos, send = (
            stage[..., k] for k in (IDLE, MOVE, SENSE, PROC, REPOS, TX)
        )
        left, tau, eta, bits, cpu = (
            self._part(sight, name)[..., 0]
            for name in ("remaining", "sensing_time", "compression", "bits", "cpu_max")
        )
        slot = p.slot_s * (1.0 + _ROUNDING)
        moving = move | (idle & (heading.sum(-1) > 0.5))
        way_m = (heading * sight.region[..., 2]).sum(-1) * p.area_m
        senses = moving & (way_m <= p.speed_max_mps * slot + _ROUNDING * p.area_m)
        sensed = senses | (sense & (left * tau * p.sensing_max_s <= slot))
        work = bits * BITS_REF / eta.clamp_min(1e-3) * work_per_bit(eta.clamp_min(1e-3), p)
        processed = sensed | (proc & (left * work <= cpu * CPU_REF * slot))
        latched = sensed if p.overlap_proc_move else processed
        speed = moving | processed | repos | ((sensed | proc) if p.overlap_proc_move else processed)
        runs = (sensed | proc) & (not p.fixed_cpu)
        asks = send & (p.bw_mode == "request" and not p.equal_weight)
        read = torch.stack([speed, senses, runs, sensed, latched, send, asks], -1)
        return read * sight.counts[..., 1:]

    def _part(self, sight: Sight, name: str) -> Tensor:
        """A part of the own block."""
        where: slice = getattr(self.layout, name)
        first = self._rest.index(where.start)
        return sight.own[..., first : first + where.stop - where.start]

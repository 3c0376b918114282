"""The table of baselines of ``sixgym/AgentAggregation-v0``.

One controller plays all agents: it plans every pair that could be made, picks who hands over to
whom, and says both through the environment's own action with ``pairing="central"``: a matrix of
scores that is 1 at the pairs it wants, and the controls that the plans come to. It knows the model
and the present state; nothing in a mission is random after its start, so there is no more to know.

H-MAP, its ablations and its rivals are those that the paper compares. [notes: names and rules]
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from sixgym.baselines.coins import Coins
from sixgym.baselines.policy import Baseline, Kind
from sixgym.baselines.twin_mobility.aggregation_ends import ends_of
from sixgym.baselines.twin_mobility.aggregation_matching import (
    MOST_ENUMERATED,
    best_first_move,
    by_weight,
    field_weight,
)
from sixgym.baselines.twin_mobility.aggregation_plans import (
    FREE,
    Freedom,
    Plan,
    plan_pairs,
)
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.twin_mobility.aggregation import BID, CONTROLS, GROUP, AgentAggregation
from sixgym.envs.twin_mobility.aggregation_moves import (
    ANGLE,
    KEEP_RATIO,
    LENGTH,
    NUM_CONTROLS,
    SEND_RATIO,
    TIME,
    border_m,
)
from sixgym.envs.twin_mobility.aggregation_pairing import Pairs, by_costs
from sixgym.envs.twin_mobility.aggregation_round import distances
from sixgym.envs.twin_mobility.aggregation_state import AggregationState

if TYPE_CHECKING:
    from sixgym.envs.core.rollout import Policy
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv

ID = "sixgym/AgentAggregation-v0"
CENTRAL = {"pairing": "central"}
"""Variant of the environment in which a controller decides the pairs."""
SAME = 1.0 - 1e-6
"""A redundancy above it costs nothing to compress."""


class Controls(NamedTuple):
    """What agents of a round are to do; tensors (rows, N)."""

    pairs: Pairs
    end: Tensor
    """(rows, N, 2) m."""
    move_s: Tensor
    ratio: Tensor
    """Of the role that each has."""


class Planner(ABC):
    """Decides a round of all rows from the state of the environment.

    Args:
        system: that is played, with ``pairing="central"``.
        name: what it is called.

    Raises:
        PolicyError: another system, or another pairing.
    """

    def __init__(self, system: System[Any, Any], name: str) -> None:
        if not isinstance(system, AgentAggregation) or system.params.pairing != "central":
            raise PolicyError(
                f"policy {name}: {type(system).__name__}; allowed: that of {ID} with "
                "pairing='central'"
            )
        self.name = name
        self.system = system
        self._env: SixgymVectorEnv | None = None

    def attach(self, env: SixgymVectorEnv) -> None:
        """Read states from ``env`` from now on."""
        self._env = env

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, None]:
        """Actions of all agents; see `sixgym.envs.core.rollout.Policy`.

        Raises:
            PolicyError: no environment is attached.
        """
        if self._env is None:
            raise PolicyError(f"policy {self.name}: sees the model; call attach(env) first")
        with torch.no_grad():
            held = self._env.rows.state
            action = encode(self.system, held, self.decide(held))
        if isinstance(action, dict):
            return {key: part.numpy() for key, part in action.items()}, None
        return action.numpy(), None

    @abstractmethod
    def decide(self, state: AggregationState) -> Controls:
        """What the agents of all rows do in the coming round."""


def encode(system: AgentAggregation, state: AggregationState, wanted: Controls) -> Any:
    """The joint action, of the system's layout, that does what is wanted.

    Args:
        system: with ``pairing="central"``.
        state: of all rows.
        wanted: of the coming round.
    """
    p = system.params
    pairs = wanted.pairs
    goal = torch.nn.functional.one_hot(pairs.other, p.num_agents) * pairs.sends.unsqueeze(-1)
    off = wanted.end - state.position.double()
    way = off.square().sum(-1).sqrt()
    turn = torch.atan2(off[..., 1], off[..., 0]) / (2.0 * math.pi)
    heading = off / way.clamp_min(1e-12).unsqueeze(-1)
    limit = border_m(state.position.double(), state.disc.double(), heading)
    limit = limit.clamp_max(p.speed_max_mps * p.reach_time_s)
    controls = torch.zeros(*way.shape, NUM_CONTROLS, dtype=torch.float64)
    controls[..., ANGLE] = torch.remainder(turn, 1.0)
    controls[..., LENGTH] = torch.where(way > 0.0, way / limit.clamp_min(1e-9), 0.0)
    controls[..., TIME] = wanted.move_s / p.reach_time_s
    controls[..., SEND_RATIO] = 1.0 - _share(wanted.ratio, 1.0, p.compression_min)
    controls[..., KEEP_RATIO] = _share(wanted.ratio, p.compression_min, p.compression_required)
    controls = controls.clamp(0.0, 1.0).to(torch.float32)
    scores = goal.to(torch.float32)
    if p.action_mode == "flat":
        return system.joint_action({GROUP: torch.cat([scores, controls], -1)})
    return system.joint_action({f"{GROUP}.{BID}": scores, f"{GROUP}.{CONTROLS}": controls})


def _share(ratio: Tensor, start: float, end: float) -> Tensor:
    """Where a ratio lies between two others on a scale of logarithms; 1 where these are equal."""
    span = math.log(end / start)
    return (ratio / start).log() / span if span else torch.ones_like(ratio)


# ---------------------------------------------------------------------------------------- planners


class MatchingPlanner(Planner):
    """Plans all pairs, matches agents, and does as planned.

    Args:
        system: see `Planner`.
        name: what it is called.
        match: from the planner, state, plans and weights of all ordered pairs to the pairs made.
        freedom: of the plans.
        is_lean: whether compression that costs nothing goes as far as it can, also a receiver's.
    """

    def __init__(
        self,
        system: System[Any, Any],
        name: str,
        match: Match,
        freedom: Freedom = FREE,
        *,
        is_lean: bool = False,
    ) -> None:
        super().__init__(system, name)
        self._match, self._freedom, self._is_lean = match, freedom, is_lean
        self.coins = Coins(system.params.num_agents**2, "topology")

    def attach(self, env: SixgymVectorEnv) -> None:
        """Read states from ``env`` from now on, and throw coins by its rows."""
        super().attach(env)
        self.coins.env = env

    def decide(self, state: AggregationState) -> Controls:
        """The plans of the pairs that the matching makes."""
        ends = ends_of(state.position, state.disc, state.payload_bit, state.redundancy)
        plan = plan_pairs(self.system.params, ends, self._freedom)
        pairs = self._match(self, state, plan)
        own, other = torch.arange(pairs.partner.shape[1]).expand_as(pairs.other), pairs.other
        sender, receiver = (
            torch.where(pairs.sends, own, other),
            torch.where(pairs.sends, other, own),
        )
        row = torch.arange(len(own)).unsqueeze(1)
        side = (~pairs.sends).to(torch.int64)
        chosen = Plan(*(t[row, sender, receiver] for t in plan))
        place = side.unsqueeze(-1)
        end = chosen.end.gather(2, place.unsqueeze(-1).expand(-1, -1, 1, 2)).squeeze(2)
        move_s = chosen.move_s.gather(2, place).squeeze(2)
        ratio = chosen.ratio.gather(2, place).squeeze(2)
        if self._is_lean:
            ratio = torch.where(state.redundancy > SAME, self.system.params.compression_min, ratio)
        stay = ~pairs.is_paired
        end = torch.where(stay.unsqueeze(-1), state.position.double(), end)
        return Controls(pairs, end, torch.where(stay, 0.0, move_s), ratio)


Match = Callable[[MatchingPlanner, AggregationState, Plan], Pairs]


def match_by_field(planner: MatchingPlanner, state: AggregationState, plan: Plan) -> Pairs:
    """H-MAP: energy plus the potential of the receiver."""
    return by_costs(planner.system.pairing, _weight(planner, state, plan), state.active)


def match_by_energy(planner: MatchingPlanner, state: AggregationState, plan: Plan) -> Pairs:
    """Pure greedy: energy alone, zeta = 0."""
    return by_costs(planner.system.pairing, plan.energy_j, state.active)


def match_by_distance(planner: MatchingPlanner, state: AggregationState, plan: Plan) -> Pairs:
    """Least sum of distances, each pair in the direction of less energy."""
    rank = distances(state.position.double())
    return by_weight(planner.system.pairing, rank, plan.energy_j, state.active)


def match_at_random(planner: MatchingPlanner, state: AggregationState, plan: Plan) -> Pairs:
    """Least sum of random numbers, each pair in the direction of less energy."""
    count = state.sources.shape[1]
    drawn = torch.from_numpy(planner.coins(len(state.sources))).unflatten(1, (count, count))
    rank = drawn + drawn.transpose(1, 2)
    return by_weight(planner.system.pairing, rank, plan.energy_j, state.active)


def _weight(planner: MatchingPlanner, state: AggregationState, plan: Plan) -> Tensor:
    return field_weight(
        planner.system.params,
        plan.energy_j,
        plan.received_bit,
        plan.end[..., 1, :],
        state.position,
        state.active,
    )


class Oracle(MatchingPlanner):
    """The cheapest course of what is left of a mission, once at most six agents are active.

    More are matched as by H-MAP. Nobody ever moves, and ratios are H-MAP's.
    """

    def __init__(self, system: System[Any, Any], name: str) -> None:
        super().__init__(system, name, match_for_the_end, Freedom(moves=False))


def match_for_the_end(planner: MatchingPlanner, state: AggregationState, plan: Plan) -> Pairs:
    """The first pairs of the cheapest course where few are active, else those of H-MAP."""
    pairs = match_by_field(planner, state, plan)
    few = torch.nonzero(state.num_active <= MOST_ENUMERATED)[:, 0]
    if not len(few):
        return pairs
    some = AggregationState(*(leaf[few] for leaf in state))
    best, _ = best_first_move(planner.system.params, some)
    return Pairs(*(whole.index_copy(0, few, part) for whole, part in zip(pairs, best, strict=True)))


# ------------------------------------------------------------------------------------------- table


def _matching(
    match: Match, freedom: Freedom = FREE, *, is_lean: bool = False
) -> Callable[[System[Any, Any], str], Policy]:
    def make(system: System[Any, Any], name: str) -> Policy:
        return MatchingPlanner(system, name, match, freedom, is_lean=is_lean)

    return make


def _entry(
    name: str,
    kind: Kind,
    description: str,
    make: Callable[[System[Any, Any], str], Policy],
    **params: Any,
) -> Baseline:
    env_kwargs = {**CENTRAL, **params}
    return Baseline(
        name, lambda system: make(system, name), "model", kind, description, None, env_kwargs
    )


_TABLE = (
    _entry(
        "hmap",
        "reference",
        "H-MAP: all pairs planned, matched by energy and potential field.",
        _matching(match_by_field),
    ),
    _entry(
        "hmap_lean",
        "heuristic",
        "H-MAP that compresses as far as it goes where that costs nothing, in the first round.",
        _matching(match_by_field, is_lean=True),
    ),
    _entry(
        "greedy",
        "heuristic",
        "Matched by the energy of the round alone, zeta = 0.",
        _matching(match_by_energy),
    ),
    _entry(
        "distance_based",
        "heuristic",
        "Matched by distance; ratios and motion as H-MAP.",
        _matching(match_by_distance),
    ),
    _entry(
        "random_topology",
        "heuristic",
        "Matched at random; ratios and motion as H-MAP.",
        _matching(match_at_random),
    ),
    _entry(
        "no_motion",
        "ablation",
        "H-MAP in which nobody moves.",
        _matching(match_by_field, Freedom(moves=False)),
    ),
    _entry(
        "fixed_speed",
        "ablation",
        "H-MAP in which every way is gone at the largest speed.",
        _matching(match_by_field, Freedom(free_speed=False)),
    ),
    _entry(
        "max_power",
        "ablation",
        "H-MAP in which senders transmit at the largest power.",
        _matching(match_by_field),
        power="max",
    ),
    _entry(
        "no_rag",
        "ablation",
        "H-MAP without the discount for shared knowledge, rho = 0.",
        _matching(match_by_field),
        use_redundancy=False,
    ),
    _entry(
        "no_semantic",
        "ablation",
        "H-MAP that compresses nothing, eta = 1.",
        _matching(match_by_field, Freedom(compresses=False)),
        compression_required=1.0,
    ),
    _entry(
        "oracle",
        "heuristic",
        "The best of all sequences of pairings and directions that are left, with H-MAP's ratios "
        "and no motion; as H-MAP while more than six agents are active.",
        Oracle,
    ),
)

BASELINES: dict[str, Baseline] = {entry.name: entry for entry in _TABLE}
"""Baselines of `sixgym/AgentAggregation-v0`."""

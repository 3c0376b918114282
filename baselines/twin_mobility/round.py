"""The table of baselines of ``sixgym/TwinRound-v0``.

All solve the one-shot problem of the present state with the two-layer solver, with one ingredient
replaced, and act through the environment's own action; so what the table compares is what the
environment pays, not what a solver says of itself. They read the model's state, fading included.
With several rounds an agent keeps to an even share of its battery for each round that is left.

A weight of the action reaches from ``request_min`` to 1, so shares of the band can differ by a
factor of 20 at most. Where a plan asks for more, the smallest shares are raised, and the plans are
found anew for the band that is then had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.baselines.generic import rows_of
from sixgym.baselines.policy import Baseline, Cost, Kind
from sixgym.baselines.twin_mobility.assignments import nearest, random_balanced
from sixgym.baselines.twin_mobility.bounds import lower_bound
from sixgym.baselines.twin_mobility.exact import (
    MOST_ASSIGNMENTS,
    brute_force_shared,
    hungarian,
    single_deviations,
)
from sixgym.baselines.twin_mobility.instances import controls, with_margin
from sixgym.baselines.twin_mobility.matching import members
from sixgym.baselines.twin_mobility.problem import ALL, IDLE, Ingredients, Problem
from sixgym.baselines.twin_mobility.realise import Plan, realise
from sixgym.baselines.twin_mobility.regions import best_refresh, goals, group_sums, levels
from sixgym.baselines.twin_mobility.tables import Grid, tabulate
from sixgym.baselines.twin_mobility.two_layer import GREEDY, Rule, Solution, solve
from sixgym.envs.backend.rng import DrawTable, episode_key
from sixgym.envs.core.errors import ParamsError, PolicyError
from sixgym.envs.twin_mobility.round import GROUP, TwinRound
from sixgym.envs.twin_mobility.round_params import ROUND_S, TwinRoundParams
from sixgym.envs.twin_mobility.round_state import RoundState
from sixgym.envs.twin_mobility.twin import deviation

if TYPE_CHECKING:
    from sixgym.envs.core.rollout import Policy
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv

ID = "sixgym/TwinRound-v0"
FLAT = {"action_mode": "flat"}
BOUND_GRID = Grid(step_s=0.25, times=720)
"""Times by which the bound is found."""


# ----------------------------------------------------------------------------------- the problem


def problem_of(system: TwinRound, state: RoundState) -> Problem:
    """The one-shot problem of the present states, in double precision.

    An agent may spend the budget of the cycle, and of its battery an even share for each of the
    rounds left; a dead one nothing.

    Args:
        system: of the state.
        state: (S, ...).
    """
    p, rows = system.params, state.round.shape[0]
    wide = RoundState(*(t.double() if t.is_floating_point() else t for t in state))
    factor = system.kernel.gain_factor(wide)
    share = wide.battery_j / _rounds_left(p, wide).unsqueeze(-1)
    return Problem(
        pos=wide.position,
        region_xy=wide.centre,
        bs_xy=system.kernel.station.double().expand(rows, 2),
        kappa=wide.kappa,
        cpu_max_flops=wide.cpu_max,
        energy_j=share.clamp_max(p.cycle_energy_j),
        drift=wide.drift,
        theta=wide.theta,
        age_s=wide.age_s,
        raw_bits=wide.drawn_bits if p.raw_mode == "fixed" else None,
        gain_factor=factor,
    )


def _rounds_left(params: TwinRoundParams, state: RoundState) -> Tensor:
    """(S,) rounds that are to be played, with the present one, at 30 s each."""
    left = params.num_rounds - state.round
    if params.limit_s is not None:
        left = torch.minimum(left, (params.limit_s - state.time_s) / ROUND_S)
    return left.clamp_min(1.0)


def score_bound(system: TwinRound, state: RoundState) -> Tensor:
    """(S,) below which no policy brings the largest score of the coming round.

    Everyone helps every region with all the bandwidth; a region that cannot be served so by the
    end of the time grid counts by the less of its score with a miss and its age by then; see
    `lower_bound`. [derived]

    Args:
        system: of the state.
        state: (S, ...).

    Raises:
        ParamsError: processing and moving overlap, which the solver does not plan with.
    """
    p = system.params
    if p.overlap_proc_move:
        raise ParamsError("overlap_proc_move=True: no bound is known; allowed: False")
    problem = problem_of(system, state)
    budget = state.battery_j.double()
    if p.is_hard:
        budget = budget.clamp_max(p.cycle_energy_j)
    age, drift = problem.age_s, problem.drift
    missed = deviation(drift, age + p.round_min_s, state.twin_info.double(), p) + p.miss_penalty
    end = BOUND_GRID.step_s * BOUND_GRID.times
    late = deviation(drift, age + end, torch.full_like(age, torch.inf), p)
    problem = problem._replace(energy_j=budget, unserved=torch.minimum(missed, late))
    return lower_bound(problem, p, grid=BOUND_GRID)


# ----------------------------------------------------------------------------------- the policies

Assign = Callable[["RoundPlanner", Problem], Tensor]
"""(S, N) int64 region of each agent, -1 for none."""


@dataclass(frozen=True)
class Scheme:
    """The two-layer solver with something replaced.

    Attributes:
        free: which resources may be chosen.
        assign: replaces the matching.
        rule: of the matching.
    """

    free: Ingredients = ALL
    assign: Assign | None = None
    rule: Rule = field(default_factory=Rule)


class RoundPlanner:
    """Plays the plans of a scheme.

    Args:
        system: that it acts in.
        name: what it is called.
        scheme: how it plans.

    Raises:
        PolicyError: the system is another one, or its actions are not flat.
    """

    def __init__(self, system: System[Any, Any], name: str, scheme: Scheme) -> None:
        if not isinstance(system, TwinRound) or system.params.action_mode != "flat":
            raise PolicyError(f"policy {name}: allowed: the system of {ID}, action_mode 'flat'")
        self.name, self.system, self.scheme = name, system, scheme
        self._env: SixgymVectorEnv | None = None
        self._coins = DrawTable({f"policy {name}": ("uniform", (system.params.num_agents,))})

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
        """Actions of every row; see `sixgym.envs.core.rollout.Policy`.

        Raises:
            PolicyError: not attached, or attached to another batch than the observation's.
        """
        rows = self.env.num_envs
        if rows_of(observation) != rows:
            raise PolicyError(
                f"policy {self.name}: {rows_of(observation)} observations; allowed: those of the "
                f"attached environment's {rows} rows"
            )
        with torch.no_grad():
            held: RoundState = self.env.rows.state
            action = self.action(self.plan(held), held)
        if isinstance(action, dict):
            return {key: _numpy(part) for key, part in action.items()}, None
        return _numpy(action), None

    @property
    def env(self) -> SixgymVectorEnv:
        """The environment whose state is read.

        Raises:
            PolicyError: none is attached.
        """
        if self._env is None:
            raise PolicyError(f"policy {self.name}: sees the model; call attach(env) first")
        return self._env

    def coins(self) -> Tensor:
        """(rows, agents) uniform numbers that hang on the rows' seeds and steps alone."""
        held = self.env.rows
        drawn = self._coins.draw(episode_key(held.seed, held.episode).cpu(), held.step.cpu())
        return drawn[f"policy {self.name}"].double()

    def plan(self, state: RoundState) -> Plan:
        """What all agents do from a state on, in shares of the band that weights can express."""
        problem = with_margin(problem_of(self.system, state))
        plan = self.solve(problem).plan
        return self._within_weights(problem, plan)

    def solve(self, problem: Problem, assignment: Tensor | None = None) -> Solution:
        """The scheme's solution.

        Args:
            problem: of the rows.
            assignment: what is not to be changed; None: the scheme's own.
        """
        scheme = self.scheme
        if assignment is None and scheme.assign is not None:
            assignment = scheme.assign(self, problem)
        return solve(
            problem,
            self.system.params,
            scheme.free,
            assignment=assignment,
            rule=scheme.rule,
            table_dtype=torch.float32,
        )

    def _within_weights(self, problem: Problem, plan: Plan) -> Plan:
        """The plan with shares of the band that differ by no more than weights can."""
        p, works = self.system.params, plan.region != IDLE
        band = torch.where(works, plan.bandwidth_hz, 0.0)
        least = p.request_min * band.amax(-1, keepdim=True)
        is_short = (works & (band < least * (1.0 - 1e-6))).any(-1)
        index = is_short.nonzero().squeeze(-1)
        if p.equal_weight or not index.numel():
            return plan
        raised = torch.where(works, torch.maximum(band, least), 0.0)[index]
        shared = p.bandwidth_hz * raised / raised.sum(-1, keepdim=True)
        even = p.bandwidth_hz / p.num_agents
        again = self.plans_for(
            problem.rows(index),
            plan.region[index],
            torch.where(works[index], shared, even),
        )
        return Plan(*(old.index_copy(0, index, new) for old, new in zip(plan, again, strict=True)))

    def plans_for(self, problem: Problem, assignment: Tensor, band: Tensor) -> Plan:
        """The best plans for an assignment and a split of the band, (S, N) each."""
        p, free = self.system.params, self.scheme.free
        table = tabulate(problem, band, p, free)
        here = levels(problem, table)
        sums = group_sums(here, members(assignment, problem.num_regions))
        refresh = best_refresh(sums, goals(problem), here.time_s, p)
        return realise(problem, assignment, band, table, refresh, p, free)

    def action(self, plan: Plan, state: RoundState) -> Any:
        """The joint action that stands for a plan."""
        p = self.system.params
        u = controls(plan, state.cpu_max.double(), p)
        choice = torch.nn.functional.one_hot(plan.region + 1, p.num_regions + 1)
        move = torch.cat([2.0 * choice.to(u.dtype) - 1.0, 2.0 * u - 1.0], -1).to(torch.float32)
        return self.system.joint_action({GROUP: move})


class BruteForce(RoundPlanner):
    """Looks up all assignments, idling included, for an even split of the band among those who go.

    The best one is then given its best split, and the better of it and the two-layer solver's
    solution is played: so it never does worse.

    Args:
        system: of at most `MOST_ASSIGNMENTS` assignments.
        name: what it is called.
        scheme: how it plans.

    Raises:
        PolicyError: there are more.
    """

    def __init__(self, system: System[Any, Any], name: str, scheme: Scheme) -> None:
        super().__init__(system, name, scheme)
        p = self.system.params
        if (p.num_regions + 1) ** p.num_agents > MOST_ASSIGNMENTS:
            raise PolicyError(
                f"policy {name}: {p.num_regions + 1} choices of {p.num_agents} agents; allowed: "
                f"at most {MOST_ASSIGNMENTS} assignments"
            )

    def solve(self, problem: Problem, assignment: Tensor | None = None) -> Solution:
        """The better of both."""
        exact = brute_force_shared(problem, self.system.params, self.scheme.free)
        return _better(super().solve(problem), super().solve(problem, exact.assignment))


def _better(one: Solution, other: Solution) -> Solution:
    """Row by row the solution with the smaller largest deviation."""
    wins = other.gamma < one.gamma

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(wins.view(-1, *[1] * (a.dim() - 1)), b, a)

    plan = Plan(*(pick(a, b) for a, b in zip(one.plan, other.plan, strict=True)))
    rest = [pick(a, b) for a, b in zip(one[2:], other[2:], strict=True)]
    return Solution(plan.region, plan, *rest)


def _numpy(part: Tensor) -> NDArray[Any]:
    return np.asarray(part.cpu().numpy())


# ----------------------------------------------------------------------------------- assignments


def assign_at_random(planner: RoundPlanner, problem: Problem) -> Tensor:
    """Balanced groups of agents in random order."""
    return random_balanced(planner.coins(), problem.num_regions).to(problem.pos.device)


def assign_nearest(planner: RoundPlanner, problem: Problem) -> Tensor:
    """Every agent to the nearest region."""
    return nearest(problem)


def assign_one_each(planner: RoundPlanner, problem: Problem) -> Tensor:
    """One agent for each region, for the least sum of deviations; the others stay.

    Raises:
        PolicyError: there are fewer agents than regions.
    """
    p = planner.system.params
    if p.num_agents < p.num_regions:
        raise PolicyError(
            f"policy {planner.name}: {p.num_agents} agents; allowed: at least {p.num_regions}"
        )
    band = torch.full_like(problem.energy_j, p.bandwidth_hz / p.num_regions)
    here = levels(problem, tabulate(problem, band, p, planner.scheme.free))
    return hungarian(single_deviations(here, goals(problem), p))


# ----------------------------------------------------------------------------------- the table


def _fixed_speed(speed_mps: float | None) -> Callable[[System[Any, Any], str], Policy]:
    """A speed within the bounds; None: the largest."""

    def make(system: System[Any, Any], name: str) -> Policy:
        low, high = system.params.speed_min_mps, system.params.speed_max_mps
        speed = high if speed_mps is None else min(max(speed_mps, low), high)
        return RoundPlanner(system, name, Scheme(Ingredients(speed_mps=speed)))

    return make


def _scheme(scheme: Scheme) -> Callable[[System[Any, Any], str], Policy]:
    return lambda system, name: RoundPlanner(system, name, scheme)


def _entry(
    name: str,
    kind: Kind,
    description: str,
    make: Callable[[System[Any, Any], str], Policy],
    cost: Cost = "fast",
) -> Baseline:
    return Baseline(
        name,
        lambda system: make(system, name),
        "model",
        kind,
        description,
        env_kwargs=FLAT,
        cost=cost,
    )


_TABLE = (
    _entry(
        "two_layer",
        "reference",
        "Matching of agents and regions outside, all resources and the band inside.",
        _scheme(Scheme()),
    ),
    _entry(
        "brute_force",
        "exact",
        "The best of all assignments for an even split of the band, exactly, then its best split; "
        "or two_layer's plan where that is better. Slow; for few agents.",
        lambda system, name: BruteForce(system, name, Scheme()),
        cost="slow",
    ),
    _entry(
        "random_balanced",
        "ablation",
        "A random assignment in balanced groups; resources and band as two_layer.",
        _scheme(Scheme(assign=assign_at_random)),
    ),
    _entry(
        "nearest",
        "ablation",
        "Every agent to the nearest region; resources and band as two_layer.",
        _scheme(Scheme(assign=assign_nearest)),
    ),
    _entry(
        "greedy_maxdev",
        "ablation",
        "Again and again the worst region takes the agent that helps it most; no moves after that.",
        _scheme(Scheme(rule=GREEDY)),
    ),
    _entry(
        "hungarian",
        "ablation",
        "One agent for each region, for the least sum of deviations; the others stay.",
        _scheme(Scheme(assign=assign_one_each)),
    ),
    _entry("fixed_speed_5", "ablation", "Speed 5 m/s, the cheapest on wheels.", _fixed_speed(5.0)),
    _entry("fixed_speed_10", "ablation", "Speed 10 m/s.", _fixed_speed(10.0)),
    _entry("fixed_speed_max", "ablation", "The largest speed.", _fixed_speed(None)),
    _entry(
        "no_compression",
        "ablation",
        "All raw bits are sent.",
        _scheme(Scheme(Ingredients(compress=False))),
    ),
    _entry(
        "no_channel_mobility",
        "ablation",
        "Agents transmit where they sensed.",
        _scheme(Scheme(Ingredients(approach=False))),
    ),
    _entry(
        "equal_bandwidth",
        "ablation",
        "The band in equal parts.",
        _scheme(Scheme(Ingredients(equal_bandwidth=True))),
    ),
    _entry(
        "max_power",
        "ablation",
        "Full transmit power.",
        _scheme(Scheme(Ingredients(full_power=True))),
    ),
    _entry(
        "fixed_cpu",
        "ablation",
        "Full processing rate.",
        _scheme(Scheme(Ingredients(full_cpu=True))),
    ),
)

BASELINES: dict[str, Baseline] = {entry.name: entry for entry in _TABLE}
"""Baselines of `sixgym/TwinRound-v0`."""

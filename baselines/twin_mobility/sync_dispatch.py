"""The two-layer algorithm as a dispatcher: it plans the cycles of idle agents, slot by slot.

Whoever is on a cycle is bound to it; its delivery is a step in what its region will know. Idle
agents are matched to regions on top of these steps and get the best plans of the inner layer, which
they then play to the end of their cycles. [two layers: paper; use slot by slot: ours]

* **Pace**: a cycle may cost its budget, and of the battery as much as `CYCLE_S` have in an even
  spending over the time that is left.
* **Band**: who transmits when is not known ahead; plans count on an even share B / N, and all ask
  for the same weight.
* **Whoever improves nothing**, because those on their way will have served every region by the time
  it could deliver, goes where its own update, alone and in its own time, will lower the deviation
  most, given what is on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from sixgym.baselines.generic import rows_of
from sixgym.baselines.twin_mobility.instances import with_margin
from sixgym.baselines.twin_mobility.problem import IDLE, Problem
from sixgym.baselines.twin_mobility.sync_cycles import Coming, plan_cycles
from sixgym.baselines.twin_mobility.sync_view import View
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.twin_mobility import state as stages
from sixgym.envs.twin_mobility.actions import NUM_CONTROLS
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.state import SyncState

if TYPE_CHECKING:
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv

CYCLE_S = 40.0
"""What a cycle takes, about; by which energy is paced. [ours]"""
WAIT_SLOTS = 5
"""An agent for which there is no plan asks again after so many slots."""


class Orders(NamedTuple):
    """What the agents were told, (rows, agents, ...)."""

    level: Tensor
    """(rows, agents, 7) controls of the cycle."""
    sensed_s: Tensor
    """When its sensing ends by plan, s of the episode."""
    due_s: Tensor
    """When it delivers by plan."""
    info: Tensor
    """nat that it delivers by plan."""
    asks_s: Tensor
    """Before that time an idle agent need not be asked."""

    def put(self, rows: Tensor, seats: Tensor, new: Orders) -> Orders:
        """With new orders of some seats (S, K) of some rows (S,)."""
        at = rows.unsqueeze(1), seats
        return Orders(*(old.index_put(at, part) for old, part in zip(self, new, strict=True)))


def no_orders(state: SyncState) -> Orders:
    """Before anybody was told anything."""
    zero = torch.zeros_like(state.battery_j, dtype=torch.float64)
    return Orders(zero.unsqueeze(-1).expand(-1, -1, NUM_CONTROLS), zero, zero, zero, zero)


class Dispatcher:
    """Plays the plans of the two-layer algorithm.

    Args:
        system: that it acts in.
        name: what it is called.

    Raises:
        PolicyError: the system is another one, or its actions are not flat.
    """

    def __init__(self, system: System[Any, Any], name: str) -> None:
        self.name = name
        self.view = View(system, name)
        self._env: SixgymVectorEnv | None = None

    @property
    def params(self) -> TwinSyncParams:
        """Of the system."""
        return self.view.system.params

    def attach(self, env: SixgymVectorEnv) -> None:
        """Read states from ``env`` from now on."""
        self._env = env

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Orders]:
        """Actions of every row; see `sixgym.envs.core.rollout.Policy`.

        Raises:
            PolicyError: not attached, or attached to another batch than the observation's.
        """
        if self._env is None:
            raise PolicyError(f"policy {self.name}: sees the model; call attach(env) first")
        rows = self._env.num_envs
        if rows_of(observation) != rows:
            raise PolicyError(
                f"policy {self.name}: {rows_of(observation)} observations; allowed: those of the "
                f"attached environment's {rows} rows"
            )
        with torch.no_grad():
            region, orders = self.dispatch(self._env.rows.state, state)
            return self.view.act(region, orders.level), orders

    def dispatch(self, state: SyncState, orders: Orders | None) -> tuple[Tensor, Orders]:
        """Where idle agents go now, (rows, agents) int64, -1 for nowhere, and all orders.

        Args:
            state: of all rows.
            orders: of the slot before; None at first.
        """
        now = (state.slot * self.params.slot_s).double().unsqueeze(-1)
        held = no_orders(state)
        if orders is not None:
            new = (state.slot == 0.0)[:, None]
            held = Orders(
                torch.where(new.unsqueeze(-1), held.level, orders.level),
                *(torch.where(new, a, b) for a, b in zip(held[1:], orders[1:], strict=True)),
            )
        asks = (state.stage == stages.IDLE) & (held.asks_s <= now)
        region = torch.full_like(state.target, IDLE)
        count = asks.sum(-1)
        # together those with as many to plan for, so that nobody is planned for in vain
        for many in count[count > 0].unique().tolist():
            rows = (count == many).nonzero().squeeze(-1)
            seats = (~asks[rows]).int().argsort(dim=-1, stable=True)[:, :many]
            goes, told = self._orders(_some(state, rows), _rows(held, rows), seats)
            held = held.put(rows, seats, told)
            region = region.index_put((rows.unsqueeze(1), seats), goes)
        return region, held

    def _orders(self, state: SyncState, held: Orders, seats: Tensor) -> tuple[Tensor, Orders]:
        """Regions and orders of the agents on some seats, (S, K)."""
        p = self.params
        now = (state.slot * p.slot_s).double().unsqueeze(-1)
        problem = problem_of(self.view, state, held, seats)
        coming = coming_of(problem, state, held, p)
        cycles = plan_cycles(problem, _share(p, seats.shape[1]), coming)
        again = torch.where(cycles.region == IDLE, now + WAIT_SLOTS * p.slot_s, 0.0)
        return cycles.region, Orders(
            cycles.level, now + cycles.sensed_s, now + cycles.due_s, cycles.info, again
        )


def _some(state: SyncState, rows: Tensor) -> SyncState:
    """Some rows, in double precision."""
    kept = (leaf[rows] for leaf in state)
    return SyncState(*(leaf.double() if leaf.is_floating_point() else leaf for leaf in kept))


def _rows(orders: Orders, rows: Tensor) -> Orders:
    return Orders(*(part[rows] for part in orders))


def _share(params: TwinSyncParams, count: int) -> TwinSyncParams:
    """Parameters of a problem of some agents, with an even share of the band for each."""
    band = params.bandwidth_hz * count / params.num_agents
    return params.model_copy(update={"bandwidth_hz": band})


# ------------------------------------------------------------------------------------- the problem


def problem_of(view: View, state: SyncState, held: Orders, seats: Tensor) -> Problem:
    """The one-shot problem of idle agents, with the others' deliveries as steps.

    Args:
        view: of the system.
        state: (S, ...) in double precision.
        held: orders of all agents.
        seats: (S, K) int64, who is planned for.
    """
    p = view.system.params
    age, _ = view.system.observer.ages(state)
    now = (state.slot * p.slot_s).unsqueeze(-1)
    left_s = ((p.horizon_slots - state.slot) * p.slot_s).clamp_min(CYCLE_S).unsqueeze(-1)
    battery = state.battery_j.gather(1, seats)
    paced = (battery * CYCLE_S / left_s).clamp_max(p.cycle_energy_j)
    regions = seats.unsqueeze(-1).expand(-1, -1, p.num_regions)
    fixed, shadowed = p.raw_mode == "fixed", p.shadowing_db > 0.0
    problem = Problem(
        pos=state.position.gather(1, seats.unsqueeze(-1).expand(-1, -1, 2)),
        region_xy=state.centre,
        bs_xy=view.system.kernel.station.double().expand(len(seats), 2),
        kappa=state.kappa.gather(1, regions),
        cpu_max_flops=state.cpu_max.gather(1, seats),
        energy_j=torch.minimum(paced, battery),
        drift=state.drift,
        theta=state.theta,
        age_s=age,
        raw_bits=state.drawn_bits.gather(1, seats) if fixed else None,
        gain_factor=state.shadow.gather(1, regions) if shadowed else None,
        step_region=state.target,
        step_time_s=(held.due_s - now).clamp_min(p.slot_s),
        step_info=torch.where(state.info > 0.0, state.info, held.info),
    )
    return with_margin(problem)


def coming_of(problem: Problem, state: SyncState, held: Orders, params: TwinSyncParams) -> Coming:
    """What is on the way to all regions."""
    now = (state.slot * params.slot_s).unsqueeze(-1)
    sensed = torch.where(state.info > 0.0, state.stamp, held.sensed_s) - now
    assert problem.step_time_s is not None
    assert problem.step_info is not None
    return Coming(state.target, sensed, problem.step_time_s, problem.step_info)

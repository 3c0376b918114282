"""Baselines of RIS-NOMA: alternating optimisation, choosers of a block, and ablations.

The paper's own baselines are unknown beyond "state-of-the-art methods"; all of these are our
choice. Optimisers of all controls act through the hybrid action of ``sixgym/RisNoma-v0``, choosers
of a block through ``sixgym/RisNomaSelect-v0``. Both stand on the same dynamics, parameters and
streams, so row seed s is the same world in either: one table compares all on common episodes.

Optimisers know the model and the present channel (``sees="model"``), as the environment's own block
solvers do; none sees the future. Schedules and random choices see nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.baselines.generic import RandomPolicy, rows_of
from sixgym.baselines.policy import Baseline, Kind, Sees
from sixgym.envs.backend.access import descending_gain_order
from sixgym.envs.backend.complex import norm2
from sixgym.envs.backend.queueing import optimal_available
from sixgym.envs.backend.ris import effective_channel
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.ris_noma.channel import estimate, reflection
from sixgym.envs.ris_noma.controls import encode_action
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.solvers import (
    ao_ops,
    apply_block,
    preview,
    slot_value,
    solve_ao,
    solve_block,
    solve_extraction,
    solve_order,
    solve_ris,
    solver_ops,
)
from sixgym.envs.ris_noma.state import EXTRACTION, ORDER, SURFACE, Controls, State

if TYPE_CHECKING:
    from sixgym.envs.core.rollout import Policy
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv

HYBRID = "sixgym/RisNoma-v0"
SELECT = "sixgym/RisNomaSelect-v0"

FIXED_RHO = 0.25
"""Extraction factor of ``fixed_rho``: the best constant of the prototype (dossier 6.2), chosen on
other seeds than the evaluation's. [our choice]"""

LOOKAHEAD_SLOTS = 4
"""Slots that ``rollout4`` looks ahead: the default window. [our choice]"""

Plan = Callable[[Model, State], Controls]
"""Controls of every row for the slot, from its state."""


# ----------------------------------------------------------------------------------------- policies


class Planner(ABC):
    """A policy that reads the model's state instead of the observation.

    Args:
        system: the system that it acts in.
        name: what it is called.
    """

    ops_per_decision: float = 0.0
    """Nominal operations of the solvers in one decision; see `solver_ops`."""

    def __init__(self, system: System[Any, Any], name: str) -> None:
        self.name = name
        self._model = _model_of(system)
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
    ) -> tuple[NDArray[Any], None]:
        """Actions of every row; see `sixgym.envs.core.rollout.Policy`.

        Raises:
            PolicyError: not attached, or attached to another batch than the observation's.
        """
        if self._env is None:
            raise PolicyError(f"policy {self.name}: sees the model; call attach(env) first")
        if rows_of(observation) != self._env.num_envs:
            raise PolicyError(
                f"policy {self.name}: {rows_of(observation)} observations; "
                f"allowed: those of the attached environment's {self._env.num_envs} rows"
            )
        with torch.no_grad():
            return self.decide(self._env.rows.state).cpu().numpy(), None

    @abstractmethod
    def decide(self, state: State) -> Tensor:
        """The actions for a batch of states."""


class ControlPlanner(Planner):
    """Sets all controls by a plan, through the hybrid action.

    Args:
        system: must act by the hybrid Box.
        name: what it is called.
        plan: from model and state to the controls of the slot.
        ops: nominal operations of the plan.

    Raises:
        PolicyError: the system has another action space.
    """

    def __init__(
        self, system: System[Any, Any], name: str, plan: Plan, ops: Callable[[Model], float]
    ) -> None:
        super().__init__(system, name)
        if not isinstance(system.action_space, gym.spaces.Box):
            raise PolicyError(
                f"policy {name}: acts by {system.action_space}; allowed: the hybrid Box of {HYBRID}"
            )
        self._plan = plan
        self.ops_per_decision = ops(self._model)

    def decide(self, state: State) -> Tensor:
        """The hybrid action that sets the plan's controls, (rows, 3 users + elements) float32."""
        controls = self._plan(self._model, state)
        return encode_action(self._model, state, controls).to(torch.float32)


class Schedule:
    """Chooses blocks in a fixed cycle from the start of the episode.

    Args:
        blocks: the cycle.
        name: what it is called.
    """

    def __init__(self, blocks: tuple[int, ...], name: str) -> None:
        self.name = name
        self._blocks = np.asarray(blocks, dtype=np.int64)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The block of each row; the memory is the slot of its episode, (rows,) int64."""
        rows = rows_of(observation)
        slot = np.zeros(rows, dtype=np.int64) if state is None else state
        if episode_start is not None:
            slot = np.where(episode_start, 0, slot)
        return self._blocks[slot % len(self._blocks)], slot + 1


class Chooser(Planner):
    """Tries the three blocks on the model and takes the most valuable.

    The value of a choice is the sum over ``slots`` of delivered bits less priced energy and drops,
    with the channel frozen and nothing arriving. From the second slot on the volume is that of the
    "optimal available" rule; phases, factors and order are held. Ties go to the lower block.

    Args:
        system: must choose blocks.
        name: what it is called.
        slots: 1 is greedy.
    """

    def __init__(self, system: System[Any, Any], name: str, slots: int) -> None:
        super().__init__(system, name)
        _check_choice(system, name)
        self._slots = slots
        self.ops_per_decision = sum(solver_ops(self._model, b) for b in _BLOCKS)

    def decide(self, state: State) -> Tensor:
        """(rows,) int64, the chosen block."""
        return torch.stack([self.value(state, block) for block in _BLOCKS], -1).argmax(-1)

    def value(self, state: State, block: int) -> Tensor:
        """(rows,) value of optimising a block now, in bit."""
        model = self._model
        ahead = apply_block(state, solve_block(model, state, block))
        total = state.clock.new_zeros(state.clock.shape[0])
        for slot in range(self._slots):
            if slot > 0:
                volume = optimal_available(ahead.backlog_bits)
                ahead = apply_block(ahead, ahead.controls._replace(volume_bits=volume))
            ahead, done = preview(model, ahead)
            total = total + slot_value(model, done)
        return total


_BLOCKS = (EXTRACTION, SURFACE, ORDER)


def _model_of(system: System[Any, Any]) -> Model:
    model = getattr(system, "model", None)
    if not isinstance(model, Model):
        raise PolicyError(f"{type(system).__name__}: allowed: a RIS-NOMA system")
    return model


def _check_choice(system: System[Any, Any], name: str) -> None:
    if not isinstance(system.action_space, gym.spaces.Discrete):
        raise PolicyError(
            f"policy {name}: acts by {system.action_space}; allowed: the blocks of {SELECT}"
        )


# ------------------------------------------------------------------------------------------- plans


def plan_ao(rounds: int) -> Plan:
    """All blocks by alternating optimisation."""

    def plan(model: Model, state: State) -> Controls:
        return solve_ao(model, state, rounds)

    return plan


def plan_with_order(rule: Callable[[Model, State], Controls]) -> Plan:
    """One round of alternating optimisation with another rule in place of every order step."""

    def plan(model: Model, state: State) -> Controls:
        for step in (solve_extraction, rule, solve_ris, rule):
            state = apply_block(state, step(model, state))
        return state.controls

    return plan


def identity_order(model: Model, state: State) -> Controls:
    """Users decoded by index."""
    order = torch.arange(model.users, device=state.order.device).expand_as(state.order)
    return state.controls._replace(order=order)


def descending_order(model: Model, state: State) -> Controls:
    """The strongest user decoded first."""
    links = estimate(model, state.links)
    channel = effective_channel(links.direct, links.cascaded, reflection(state.surface))
    return state.controls._replace(order=descending_gain_order(norm2(channel)))


def ascending_order(model: Model, state: State) -> Controls:
    """The weakest user decoded first."""
    sorted_controls = descending_order(model, state)
    return sorted_controls._replace(order=sorted_controls.order.flip(-1))


def plan_random_surface(model: Model, state: State) -> Controls:
    """One round of alternating optimisation that leaves the surface at its first random phases."""
    for step in (solve_extraction, solve_order):
        state = apply_block(state, step(model, state))
    return state.controls


def plan_fixed_factor(rho: float | None) -> Plan:
    """Volumes by the "optimal available" rule, one factor for all; surface and order optimised.

    Args:
        rho: the factor; None is the smallest allowed.
    """

    def plan(model: Model, state: State) -> Controls:
        factor = model.params.rho_min if rho is None else max(rho, model.params.rho_min)
        volume = optimal_available(state.backlog_bits)
        held = state.controls._replace(
            volume_bits=volume, rho=torch.full_like(state.controls.rho, factor)
        )
        state = apply_block(state, held)
        for step in (solve_order, solve_ris, solve_order):
            state = apply_block(state, step(model, state))
        return state.controls

    return plan


def _ao_ops(rounds: int) -> Callable[[Model], float]:
    return lambda model: ao_ops(model, rounds)


def _ops(*blocks: int) -> Callable[[Model], float]:
    return lambda model: sum(solver_ops(model, block) for block in blocks)


# -------------------------------------------------------------------------------------------- table


def _controls(
    name: str,
    kind: Kind,
    description: str,
    plan: Plan,
    ops: Callable[[Model], float],
    **params: Any,
) -> Baseline:
    """A baseline that sets all controls."""

    def make(system: System[Any, Any]) -> Policy:
        return ControlPlanner(system, name, plan, ops)

    return Baseline(
        name, make, "model", kind, description, HYBRID, {"action_mode": "hybrid", **params}
    )


def _choice(
    name: str,
    description: str,
    make: Callable[[System[Any, Any]], Policy],
    sees: Sees = "observation",
    **params: Any,
) -> Baseline:
    """A baseline that chooses blocks."""
    return Baseline(name, make, sees, "heuristic", description, SELECT, params)


def _cycle(name: str, blocks: tuple[int, ...], description: str, **params: Any) -> Baseline:
    def make(system: System[Any, Any]) -> Policy:
        _check_choice(system, name)
        return Schedule(blocks, name)

    return _choice(name, description, make, **params)


def _chooser(name: str, slots: int, description: str) -> Baseline:
    return _choice(name, description, lambda system: Chooser(system, name, slots), sees="model")


def _random_block(system: System[Any, Any]) -> Policy:
    policy = RandomPolicy(system.action_space)
    policy.name = "random_block"
    return policy


_AO1 = _ao_ops(1)

_TABLE = (
    _controls(
        "ao",
        "reference",
        "All three blocks by two rounds of alternating optimisation in every slot.",
        plan_ao(2),
        _ao_ops(2),
    ),
    _controls("ao1", "heuristic", "As ao with one round: the fast one.", plan_ao(1), _AO1),
    _cycle("round_robin", (EXTRACTION, SURFACE, ORDER), "Extraction, surface, order in turn."),
    _cycle("static_01", (EXTRACTION, SURFACE), "Extraction and surface in turn."),
    _cycle(
        "static_0102",
        (EXTRACTION, SURFACE, EXTRACTION, ORDER),
        "Extraction in every second slot, surface and order in turn between.",
    ),
    Baseline(
        "random_block",
        _random_block,
        "observation",
        "random",
        "A block uniformly at random.",
        SELECT,
        listed_for=HYBRID,  # there "random" is something else; in the other table it is this
    ),
    _cycle("only_ext", (EXTRACTION,), "ao1 once, then extraction only.", init="ao"),
    _cycle("only_ris", (SURFACE,), "ao1 once, then the surface only.", init="ao"),
    _cycle("only_order", (ORDER,), "ao1 once, then the order only.", init="ao"),
    _chooser("greedy", 1, "Tries the three blocks, takes the best for this slot."),
    _chooser(
        "rollout4",
        LOOKAHEAD_SLOTS,
        "Tries the three blocks, takes the best over four slots of a frozen channel.",
    ),
    _controls(
        "no_defer",
        "ablation",
        "ao1 without deferral: data is extracted in the slot after it arrives.",
        plan_ao(1),
        _AO1,
        window_slots=1,
    ),
    _controls(
        "no_extract",
        "ablation",
        "ao1 with raw transmission (factor 1).",
        plan_fixed_factor(1.0),
        _ops(ORDER, SURFACE, ORDER),
    ),
    _controls(
        "max_extract",
        "ablation",
        "ao1 with the smallest factor always.",
        plan_fixed_factor(None),
        _ops(ORDER, SURFACE, ORDER),
    ),
    _controls(
        "fixed_rho",
        "ablation",
        f"ao1 with the factor {FIXED_RHO} always.",
        plan_fixed_factor(FIXED_RHO),
        _ops(ORDER, SURFACE, ORDER),
    ),
    _controls(
        "ris_random",
        "ablation",
        "ao1 with the surface at random phases, drawn once an episode.",
        plan_random_surface,
        _ops(EXTRACTION, ORDER),
    ),
    _controls("no_ris", "ablation", "ao1 without a surface.", plan_ao(1), _AO1, num_elements=0),
    _controls("ris_1bit", "ablation", "ao1 with phases of 1 bit.", plan_ao(1), _AO1, ris_bits=1),
    _controls("ris_2bit", "ablation", "ao1 with phases of 2 bits.", plan_ao(1), _AO1, ris_bits=2),
    _controls(
        "order_identity",
        "ablation",
        "ao1 with users decoded by index.",
        plan_with_order(identity_order),
        _ops(EXTRACTION, SURFACE),
    ),
    _controls(
        "order_ascending",
        "ablation",
        "ao1 with the weakest user decoded first.",
        plan_with_order(ascending_order),
        _ops(EXTRACTION, SURFACE),
    ),
    _controls(
        "tdma",
        "ablation",
        "ao1's controls, but users send one after another in equal turns.",
        plan_ao(1),
        _AO1,
        tx_mode="tdma",
    ),
    _controls(
        "fixed_power",
        "ablation",
        "ao1 where active users send at a fixed power for as long as they need.",
        plan_ao(1),
        _AO1,
        tx_mode="fixed_power",
    ),
)

BASELINES: dict[str, Baseline] = {entry.name: entry for entry in _TABLE}
"""Baselines of `sixgym/RisNoma-v0` and `sixgym/RisNomaSelect-v0` alike."""

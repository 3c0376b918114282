"""The baselines of RIS-NOMA: what they do is what their description says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sixgym.baselines.policy import load_baselines
from sixgym.baselines.ris_noma import BASELINES, HYBRID, SELECT, Chooser, Schedule
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.rollout import Episodes, rollout
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.ris_noma.controls import encode_action
from sixgym.envs.ris_noma.solvers import ao_ops, apply_block, solve_ao, solve_block, solver_ops
from sixgym.leaderboard.players import kwargs_of, player_of
from sixgym.leaderboard.runner import make_rows, task_of

SEEDS = list(range(900, 906))
SLOTS = 6


def make(name: str, **params: Any) -> tuple[SixgymVectorEnv, Any]:
    """The environment that a baseline of the hybrid id acts in, and the baseline, attached."""
    player = player_of(BASELINES[name], HYBRID)
    task = task_of(HYBRID, episodes=6, seed=900, params={"max_episode_steps": SLOTS, **params})
    env = make_rows(player.card.env_id, 6, kwargs_of(player, task))
    policy: Any = player.members[0].make(env.system)
    if hasattr(policy, "attach"):
        policy.attach(env)
    return env, policy


def play(name: str, **params: Any) -> Episodes:
    env, policy = make(name, **params)
    return rollout(env, policy, SEEDS)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_plays_and_meets_the_same_arrivals(name: str) -> None:
    """Arrivals do not depend on actions, on the id, on the window or on the surface."""
    episodes = play(name)
    assert (episodes.length == SLOTS).all()
    assert (episodes.sums["energy_j"] > 0).all()
    assert np.array_equal(episodes.sums["arrived_bits"], play("ao1").sums["arrived_bits"])


@pytest.mark.parametrize("id", [HYBRID, SELECT])
def test_the_table_of_each_id(id: str) -> None:
    table = load_baselines(id)
    assert [b.name for b in table.values() if b.kind == "reference"] == ["ao"]
    assert {"random", "constant", "ao", "ao1", "round_robin", "rollout4", "tdma"} <= set(table)
    assert ("random_block" in table) == (id == HYBRID)
    assert all(name == b.name for name, b in table.items())
    assert all(b.description.endswith(".") for b in table.values())


@pytest.mark.parametrize(("name", "rounds"), [("ao", 2), ("ao1", 1)])
def test_ao_acts_as_the_solver_says(name: str, rounds: int) -> None:
    """Through the action's encoding and decoding, float64 physics: rounding of float32 actions."""
    env, policy = make(name, dtype="float64")
    observation, _ = env.reset(seed=900)
    before = env.rows.state
    wanted = solve_ao(env.system.model, before, rounds)  # type: ignore[attr-defined]
    action, _ = policy.predict(observation)
    env.step(action)
    held = env.rows.state
    assert torch.equal(held.order, wanted.order)
    assert torch.allclose(held.rho, wanted.rho, atol=1e-6)
    assert torch.allclose(held.surface, wanted.surface, atol=1e-6)
    due, every = before.backlog_bits[..., 0], before.backlog_bits.sum(-1)
    volume = torch.minimum(torch.maximum(wanted.volume_bits, due), every)
    assert torch.allclose(held.volume_bits, volume, rtol=1e-6, atol=1e-2)


def test_schedules_cycle_and_begin_again_with_the_episode() -> None:
    policy = Schedule((0, 1, 0, 2), "static_0102")
    observation, state, chosen = np.zeros((2, 3)), None, []
    for slot in range(5):
        start = np.array([slot == 0, slot in (0, 3)])
        blocks, state = policy.predict(observation, state, start)
        chosen.append(blocks.tolist())
    assert chosen == [[0, 0], [1, 1], [0, 0], [2, 0], [0, 1]]


def test_greedy_values_are_what_the_slot_pays() -> None:
    """For each block: restore the state, really choose it, and read what the slot paid."""
    env, policy = make("greedy", dtype="float64")
    assert isinstance(policy, Chooser)
    observation, _ = env.reset(seed=900)
    for _ in range(3):
        observation, *_ = env.step(np.zeros(6, dtype=np.int64))
    saved, params = env.state_dict(), env.system.params
    values = [policy.value(env.rows.state, block) for block in range(3)]
    paid = []
    for block in range(3):
        env.load_state_dict(saved)
        _, _, _, _, info = env.step(np.full(6, block))
        paid.append(
            info["useful_bits"]
            - params.reference_ee * info["energy_j"]
            - params.drop_weight * info["dropped_bits"]
        )
    assert np.allclose(torch.stack(values).numpy(), np.stack(paid), rtol=1e-9, atol=1e-6)
    env.load_state_dict(saved)
    assert np.array_equal(policy.predict(observation)[0], np.stack(paid).argmax(axis=0))


def test_rollout4_values_are_what_four_frozen_slots_pay() -> None:
    """With a constant channel and no arrivals the environment is the frozen model: choose a block,
    hold phases, factors and order for three more slots, serve the "optimal available" volume."""
    still = {"fading_correlation": 1.0, "arrival_probability": 1e-9, "dtype": "float64"}
    hybrid, _ = make("ao1", **still)
    env, policy = make("rollout4", **still)
    env.reset(seed=900)
    hybrid.reset(seed=900)
    generator = torch.Generator().manual_seed(0)
    users = env.rows.state.users.clone()
    users[..., 6:] = torch.rand(users[..., 6:].shape, generator=generator).double() * 3e4
    for each in (env, hybrid):
        each.load_state_dict({**each.state_dict(), "state.users": users})
    model, params = env.system.model, env.system.params  # type: ignore[attr-defined]
    saved = hybrid.state_dict()
    for block in range(3):
        hybrid.load_state_dict(saved)
        total = np.zeros(6)
        controls = solve_block(model, hybrid.rows.state, block)
        for slot in range(4):
            state = hybrid.rows.state
            if slot:
                backlog = state.backlog_bits
                counts = torch.arange(1, backlog.shape[-1] + 1)
                controls = controls._replace(volume_bits=(backlog.cumsum(-1) / counts).amax(-1))
            action = encode_action(model, apply_block(state, controls), controls)
            _, _, _, _, info = hybrid.step(action.numpy())
            total += (
                info["useful_bits"]
                - params.reference_ee * info["energy_j"]
                - params.drop_weight * info["dropped_bits"]
            )
        value = policy.value(env.rows.state, block).numpy()
        # bits of a slot are about 1e5; actions are read as float64 here
        assert np.allclose(value, total, rtol=1e-6, atol=1.0)


def test_only_policies_begin_optimised() -> None:
    env, _ = make("only_ris", dtype="float64")
    env.reset(seed=900)
    plain, _ = make("round_robin", dtype="float64")
    plain.reset(seed=900)
    wanted = solve_ao(plain.system.model, plain.rows.state, 1)  # type: ignore[attr-defined]
    held = env.rows.state
    assert torch.allclose(held.surface, wanted.surface)
    assert torch.allclose(held.rho, wanted.rho)
    assert torch.equal(held.order, wanted.order)


@pytest.mark.parametrize(
    ("name", "rho"), [("no_extract", 1.0), ("max_extract", 0.2), ("fixed_rho", 0.25)]
)
def test_constant_factors_are_constant(name: str, rho: float) -> None:
    env, policy = make(name)
    observation, _ = env.reset(seed=900)
    for _ in range(3):
        observation, *_ = env.step(policy.predict(observation)[0])
    assert torch.allclose(env.rows.state.rho, torch.tensor(rho), atol=1e-6)


def test_a_random_surface_stays_as_drawn() -> None:
    env, policy = make("ris_random", dtype="float64")
    observation, _ = env.reset(seed=900)
    first = env.rows.state.surface
    for _ in range(4):
        observation, *_ = env.step(policy.predict(observation)[0])
    assert torch.allclose(env.rows.state.surface, first, atol=1e-5)


@pytest.mark.parametrize(("name", "levels"), [("ris_1bit", 2), ("ris_2bit", 4)])
def test_coarse_phases_lie_on_their_grid(name: str, levels: int) -> None:
    env, policy = make(name)
    observation, _ = env.reset(seed=900)
    env.step(policy.predict(observation)[0])
    surface = env.rows.state.surface
    phase = torch.atan2(surface[:, 1], surface[:, 0]) * levels / (2 * np.pi)
    assert torch.allclose(phase, phase.round(), atol=1e-4)


@pytest.mark.parametrize(("name", "sign"), [("order_ascending", 1.0), ("ao1", -1.0)])
def test_orders_follow_the_gains(name: str, sign: float) -> None:
    from sixgym.envs.backend.complex import norm2
    from sixgym.envs.ris_noma.channel import true_channel

    env, policy = make(name, fading_correlation=1.0, dtype="float64")
    observation, _ = env.reset(seed=900)
    env.step(policy.predict(observation)[0])
    state = env.rows.state
    model = env.system.model  # type: ignore[attr-defined]
    gain = norm2(true_channel(model, state.links, state.surface)).gather(1, state.order)
    assert (sign * gain.diff(dim=1) >= 0).all()


def test_tdma_pays_for_equal_turns() -> None:
    """Uncapped: E_tx = tau_x / (K eta) sum_k (e^{K y_k} - 1) / g_k (dossier, section 5)."""
    from sixgym.envs.backend.complex import norm2
    from sixgym.envs.ris_noma.channel import true_channel

    env, policy = make("tdma", max_power_w=100.0, dtype="float64", info_level=1)
    observation, _ = env.reset(seed=900)
    before = env.rows.state
    _, _, _, _, info = env.step(policy.predict(observation)[0])
    held, model = env.rows.state, env.system.model  # type: ignore[attr-defined]
    gain = norm2(true_channel(model, before.links, held.surface)).numpy()
    nats = model.beta * info["rho"] * info["volume_bits"]
    each = np.expm1(4 * nats) / gain
    energy = 5e-3 / (4 * 0.8) * each.sum(axis=1)
    assert (info["power_w"] < 100.0).all()
    assert np.allclose(info["energy_tx_j"], energy, rtol=1e-9)
    assert np.allclose(held.queue_bits.numpy(), 0.0, atol=1e-6)


def test_solver_operations_are_counted_wherever_they_are_spent() -> None:
    """In the policy for optimisers, in the step for schedules, in both for choosers."""
    env, _ = make("ao1")
    model = env.system.model  # type: ignore[attr-defined]
    assert (play("ao").sums["solver_ops"] == SLOTS * ao_ops(model, 2)).all()
    assert (play("ao1").sums["solver_ops"] == SLOTS * ao_ops(model, 1)).all()
    turns = SLOTS / 3 * sum(solver_ops(model, block) for block in range(3))
    assert np.allclose(play("round_robin").sums["solver_ops"], turns)
    tried = SLOTS * sum(solver_ops(model, block) for block in range(3))
    greedy = play("greedy").sums["solver_ops"] - tried
    assert (greedy >= SLOTS * min(solver_ops(model, block) for block in range(3))).all()
    assert (greedy <= SLOTS * max(solver_ops(model, block) for block in range(3))).all()


def test_a_baseline_in_the_wrong_place_says_where_it_belongs() -> None:
    env = make_rows(SELECT, 2, {})
    with pytest.raises(PolicyError, match="allowed: the hybrid Box of sixgym/RisNoma-v0"):
        BASELINES["ao"].make(env.system)
    full = make_rows(HYBRID, 2, {})
    with pytest.raises(PolicyError, match="allowed: the blocks of sixgym/RisNomaSelect-v0"):
        BASELINES["round_robin"].make(full.system)
    with pytest.raises(PolicyError, match="the blocks of"):
        BASELINES["greedy"].make(full.system)
    policy = BASELINES["ao"].make(full.system)
    with pytest.raises(PolicyError, match=r"call attach\(env\) first"):
        policy.predict(np.zeros((2, 65)))
    policy.attach(full)  # type: ignore[attr-defined]
    full.reset(seed=0)
    with pytest.raises(PolicyError, match="3 observations"):
        policy.predict(np.zeros((3, 65)))

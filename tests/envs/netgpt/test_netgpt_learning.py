"""Self-improvement: skill, buffer, cadence, scorer, drift and schema, step by step and in fluid."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from netgpt_cases import FLOOR, OMEGA, STATIONARY, SUCCESS_CLOUD, batch, law, play

from sixgym.envs.netgpt.learning import Learner
from sixgym.envs.netgpt.params import NetGptThresholdParams
from sixgym.envs.netgpt.state import Mind

ALWAYS = {"update_samples": 1, "self_improve": True}


def learner(**params: object) -> Learner:
    return Learner(NetGptThresholdParams.create(**{"self_improve": True, **params}))


def start(rows: int = 1, **params: object) -> tuple[Learner, Mind]:
    made = learner(**params)
    return made, made.start(torch.zeros(rows, dtype=torch.float64))


def after_updates(count: int, **params: object) -> list[Mind]:
    """The state after each of some updates at the end of slots 24, 49, ..."""
    made, mind = start(**params)
    over = torch.ones(1, dtype=torch.bool)
    noise = {"refresh": torch.ones(1, dtype=torch.float64)}
    told = []
    for j in range(count):
        mind = mind._replace(fresh=mind.fresh + 64.0, samples=mind.samples + 100.0)
        slot = torch.tensor([25.0 * (j + 1) - 1.0], dtype=torch.float64)
        mind = made.end_slot(mind, slot, noise, over)
        told.append(mind)
    return told


def test_skill_follows_the_power_law() -> None:
    skill = learner().skill
    numbers = torch.tensor([0.0, 4500.0, 1e12], dtype=torch.float64)
    assert skill(numbers).tolist() == pytest.approx([0.55, 0.675, 0.80], abs=1e-5)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_skill_never_falls_with_samples(a: float, b: float) -> None:
    low, high = sorted((a, b))
    kappa = learner().skill(torch.tensor([low, high], dtype=torch.float64))
    assert 0.55 <= kappa[0] <= kappa[1] <= 0.80


def test_anchored_drift_approaches_one_and_costs_no_schema() -> None:
    for j, mind in enumerate(after_updates(12), start=1):
        assert mind.drift.item() == pytest.approx(1 - 0.75**j)
        assert mind.schema.item() == pytest.approx(0.995 - 0.035 * math.exp(-j / 4))


def test_drift_without_anchor_grows_and_costs_schema_after_four_updates() -> None:
    for j, mind in enumerate(after_updates(8, anchor=False), start=1):
        assert mind.drift.item() == pytest.approx(0.25 * j)
        lost = 0.995 - 0.035 * math.exp(-j / 4) - mind.schema.item()
        assert lost == pytest.approx(0.02 * max(0.0, 0.25 * j - 1.0), abs=1e-12)
        assert (lost > 1e-9) == (j > 4)


def test_scorer_is_refitted_at_every_second_update_with_a_bias() -> None:
    told = after_updates(4)
    fitted = [m.kappa_rm.item() for m in told]
    skills = [m.kappa.item() for m in told]
    assert fitted == [0.55, skills[1], skills[1], skills[3]]
    assert [m.bias.item() for m in told] == pytest.approx([0.0, 0.1, 0.1, 0.1])
    assert [m.since_refresh.item() for m in told] == [1.0, 0.0, 1.0, 0.0]


def test_scorer_is_never_refitted_where_refresh_is_off() -> None:
    assert {m.kappa_rm.item() for m in after_updates(4, refresh_every=0)} == {0.55}


def test_updates_wait_for_their_slot_and_for_samples() -> None:
    made, mind = start(4)
    mind = mind._replace(fresh=mind.fresh + torch.tensor([64.0, 64.0, 63.0, 64.0]))
    slot = torch.tensor([24.0, 25.0, 24.0, 24.0], dtype=torch.float64)
    over = torch.tensor([True, True, True, False])
    noise = {"refresh": torch.zeros(4, dtype=torch.float64)}
    new = made.end_slot(mind, slot, noise, over)
    assert new.updates.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert new.fresh.tolist() == [0.0, 64.0, 63.0, 64.0]


def test_training_takes_compute_in_the_two_slots_after_an_update() -> None:
    env = batch(rows=1, preset="pre_queue", edge_rate=1.0, **ALWAYS)
    env.reset(seed=0)
    action = np.full((1, 1), 0.9, np.float32)
    training = []
    for _ in range(30):
        training.append(float(env.rows.state.mind.training[0]))
        env.step(action)
    assert [t for t in range(30) if training[t] > 0] == [25, 26]


def test_every_valid_cloud_answer_is_kept_and_every_right_one_gains() -> None:
    env = batch(rows=32, self_improve=True, info_level=1, schema_cloud=0.8)
    seen = play(env, 0.6, 20)
    mind = env.rows.state.mind
    gained = (seen["sent"] * seen["cloud_success_each"]).sum((0, 2))
    assert mind.samples.numpy() == pytest.approx(gained)
    assert (seen["samples"][-1] == mind.samples.numpy()).all()
    assert (mind.kept >= mind.samples).all()
    assert float(mind.kept.sum()) / seen["offload"].sum() == pytest.approx(0.8, abs=0.03)
    assert (np.diff(seen["samples"], axis=0) >= 0).all()


def test_gain_by_variance_is_that_of_the_edges_success() -> None:
    env = batch(rows=8, self_improve=True, weighting="variance")
    env.reset(seed=1)
    requests = env.rows.state.requests
    p, right = requests[:, 6], requests[:, 4]
    env.step(np.ones((8, 1), np.float32))
    expected = (right * 4 * p * (1 - p)).sum(-1)
    assert env.rows.state.mind.samples.numpy() == pytest.approx(expected.numpy(), rel=1e-5)


def test_buffer_is_full_at_its_capacity_and_learning_is_not() -> None:
    env = batch(rows=4, self_improve=True, info_level=1, buffer_capacity=50)
    seen = play(env, 1.0, 30)
    assert seen["buffer"].max() == 50
    assert seen["samples"].max() > 300


def test_nothing_is_learned_without_self_improvement() -> None:
    seen = play(batch(rows=4, info_level=1), 1.0, 60)
    for name, value in (("kappa", 0.55), ("samples", 0), ("updates", 0), ("schema_edge", 0.96)):
        assert seen[name] == pytest.approx(value)


# ------------------------------------------------------------------- against the fluid trajectory


def fluid(tau: float, slots: int) -> dict[str, np.ndarray]:
    """Learning under a fixed threshold with means for samples; the scorer refitted at every second
    update, without bias, the schema's validity fixed."""
    omega = float(STATIONARY @ OMEGA)
    kappa = fitted = 0.55
    total = fresh = 0.0
    updates = 0
    told: dict[str, list[float]] = {"offload": [], "quality": [], "utility": [], "samples": []}
    for t in range(slots):
        here = law(tau, kappa=kappa, kappa_rm=fitted)
        total += 16 * here.offload * SUCCESS_CLOUD
        fresh += 16 * here.offload * 0.995
        utility = here.quality - omega * here.offload - FLOOR
        values = {"offload": here.offload, "quality": here.quality, "utility": utility}
        for name, value in {**values, "samples": total}.items():
            told[name].append(value)
        if (t + 1) % 25 == 0 and fresh >= 64:
            updates, fresh = updates + 1, 0.0
            kappa = 0.80 - 0.25 * (1 + total / 1500) ** -0.5
            fitted = kappa if updates % 2 == 0 else fitted
    return {name: np.array(value) for name, value in told.items()}


def test_the_fluid_trajectory_is_the_dossiers() -> None:
    told = fluid(0.5832, 400)
    first, last = slice(0, 25), slice(375, 400)
    assert told["offload"][first].mean() == pytest.approx(0.341, abs=1e-3)
    assert told["offload"][last].mean() == pytest.approx(0.248, abs=1e-3)
    assert told["quality"][last].mean() == pytest.approx(0.889, abs=1e-3)
    assert told["utility"][last].mean() == pytest.approx(0.731, abs=1e-3)
    assert told["samples"][-1] == pytest.approx(1718, abs=3)
    assert told["utility"].mean() == pytest.approx(0.7131, abs=2e-4)


def test_simulated_learning_follows_the_fluid_trajectory() -> None:
    env = batch(
        rows=128,
        preset="exact",
        self_improve=True,
        refresh_bias=0.0,
        schema_edge_max=0.96,
        drift_schema=0.0,
        reward_mode="expected",
        info_level=1,
    )
    seen, told = play(env, 0.5832, 400), fluid(0.5832, 400)
    for name in ("offload", "quality", "utility"):
        by_slot = seen[name].mean(1) / 16
        for part in (slice(0, 25), slice(100, 125), slice(375, 400)):
            assert by_slot[part].mean() == pytest.approx(told[name][part].mean(), abs=6e-3)
    assert seen["samples"][-1].mean() == pytest.approx(told["samples"][-1], rel=0.01)


@pytest.mark.slow
def test_offloading_falls_with_learning_while_quality_and_schema_hold() -> None:
    """Claim C6 at full defaults: jitter, lognormal sizes, bias of refits, growing validity."""
    seen = play(batch(rows=64, self_improve=True), 0.5832, 400)

    def share(name: str, part: slice) -> float:
        return float(seen[name][part].sum() / seen["requests"][part].sum())

    first, last = slice(0, 25), slice(375, 400)
    assert share("offload", last) < share("offload", first) - 0.05
    assert share("quality", last) > share("quality", first) - 0.005
    assert share("schema_ok", last) > 0.98

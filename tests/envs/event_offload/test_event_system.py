"""`sixgym/EventOffload-v0` against the exact checks of the specification (section 9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from event_cases import batch, perfect_server, play, total, trace_file

from sixgym.envs.event_offload.tables import tabulate

C_1, C_N = 75.82e6, 299.49e6
"""MACs of the first exit and of a full pass (MobileNetV2)."""
KAPPA = 20e-12
GOOD = {"options": {"gamma_db": 25.0}}
"""An SNR at which every request fits in a slot."""


@pytest.mark.parametrize(
    ("pair", "rule", "share", "macs"),
    [
        ((0.0, 0.0), "head", 1.0, C_1),
        ((1.0, 1.0), "head", 0.0, C_1),
        ((0.0, 1.0), "head", 0.0, C_N),
        ((0.0, 1.0), "tail", 1.0, C_N),
    ],
)
def test_corner_pairs(pair: tuple[float, float], rule: str, share: float, macs: float) -> None:
    """Check 1: what is sent, and how deep events go."""
    seen = play(batch(8, final_rule=rule, info_level=1), pair, 3, **GOOD)
    assert (seen["cost_offload"] == share).all()
    assert seen["mac_mean"] == pytest.approx(macs, rel=1e-6)
    assert seen["energy_local_j"] == pytest.approx(20 * KAPPA * macs, rel=1e-6)


def test_the_order_of_the_two_numbers_does_not_matter() -> None:
    one, other = (play(batch(4), p, 3) for p in ((0.4, 0.7), (0.7, 0.4)))
    assert all(np.array_equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("semantics", ["detect_then_offload", "confident_local", "local_only"])
@pytest.mark.parametrize("preset", ["default", "bursty"])
def test_counts_and_energies_add_up(semantics: str, preset: str) -> None:
    """Conservation: events, requests, energy; check 2 for the parts of e."""
    env = batch(64, preset=preset, semantics=semantics, info_level=1)
    seen = play(env, (0.35, 0.6), 20)
    events = seen["tp"] + seen["fp"] + seen["fn"] + seen["tn"]
    assert (events == 20).all()
    assert (seen["tp"] + seen["fn"] == seen["tails_due"]).all()
    assert (seen["tp_correct"] <= seen["tp"]).all()
    assert (seen["fp_final"] <= seen["fp"]).all()
    assert (seen["exits"].sum(-1) == 20).all()
    assert (seen["confusion"].sum((-1, -2)) == 20).all()
    tails = seen["confusion"][..., 1:, :].sum((-1, -2))
    assert (tails == seen["tails_due"]).all()
    right = seen["confusion"][..., 1, 1] + seen["confusion"][..., 2, 2]
    assert (right == seen["tp_correct"]).all()
    assert (seen["confusion"][..., 0, 1:].sum(-1) == seen["fp_final"]).all()
    called = seen["confusion"][..., 1:].sum((-1, -2))
    assert np.array_equal(seen["f1_weight"], (called + tails) / 2)
    parts = seen["energy_local_j"] + seen["energy_tx_j"]
    assert seen["energy_j"] == pytest.approx(parts, rel=1e-6)
    assert seen["cost"] == pytest.approx(seen["energy_j"] / (20 * 5e-3), rel=1e-5)
    if semantics == "detect_then_offload":
        assert np.array_equal(seen["tp"] + seen["fp"], seen["n_off"])
    if semantics == "local_only":
        assert not seen["n_off"].any()


def test_capacity_drops_the_latest_requests() -> None:
    """At 0 dB 0.5 s hold floor(0.5 / 0.03495) = 14 of 20 requests; in outage none."""
    seen = play(batch(4), (0.0, 0.0), 2, options={"gamma_db": [0.0, 0.0, -5.7, 2.2]})
    assert seen["n_off"][0].tolist() == [14.0, 14.0, 0.0, 20.0]
    assert seen["dropped"][0].tolist() == [6.0, 6.0, 20.0, 0.0]
    assert seen["outage"][0].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert seen["energy_tx_j"][0, 2] == 0.0
    assert (seen["tp"] + seen["fn"] == seen["tails_due"]).all()


def test_delay_of_a_found_tail() -> None:
    """(0,0): exit 1 takes 75.82e6 / 20e9 s, one offload at 25 dB 4.2 ms."""
    env = batch(16, info_level=1)
    seen = play(env, (0.0, 0.0), 5, **GOOD)
    air = float(env.system.link.airtime_s(torch.tensor(10.0**2.5, dtype=torch.float64)))
    per_tail = C_1 / 20e9 + air
    assert seen["delay_tail_s"] == pytest.approx(per_tail * seen["tp"], rel=1e-4)
    found = seen["tp"] > 0
    assert seen["delay_mean_tail"][found] == pytest.approx(per_tail, rel=1e-4)


@pytest.mark.parametrize("split", ["calib", "test", "all"])
def test_sampled_rates_agree_with_the_table(split: Any) -> None:
    """Checks 2 and 18: TPR, FPR, f_acc, P_off = pi TPR + (1 - pi) FPR and E_loc of a pair."""
    env = batch(512, split=split)
    seen = play(env, (0.40, 0.65), 40, **GOOD)
    table = tabulate(env.system.pool, split)
    i, j = 80, 130
    events = 20 * seen["tp"].size
    tails = total(seen, "tails_due")
    heads = events - tails

    def near(count: float, trials: float, chance: float) -> None:
        error = (chance * (1 - chance) / trials) ** 0.5
        assert count / trials == pytest.approx(chance, abs=4 * error)

    near(tails, events, 0.1)
    near(total(seen, "tp"), tails, table.tpr[i, j])
    near(total(seen, "tp_correct"), tails, table.acc[i, j])
    near(total(seen, "fp"), heads, table.fpr[i, j])
    near(total(seen, "fp_final"), heads, table.fpr_final[i, j])
    near(total(seen, "n_off"), events, 0.1 * table.tpr[i, j] + 0.9 * table.fpr[i, j])
    local = total(seen, "energy_local_j") / events
    assert local == pytest.approx(KAPPA * table.mac(0.1)[i, j], rel=5e-3)


@pytest.mark.parametrize("preset", ["default", "bursty", "confident_local"])
def test_expected_mode_agrees_with_sampling(preset: str) -> None:
    """Check 18: reward and energy of 20,480 slots within 4 standard errors, drops included."""
    pair = (0.40, 0.65)
    sampled = play(batch(512, preset=preset), pair, 40)
    expected = play(batch(512, preset=preset, expected=True), pair, 40)
    for name in ("reward", "energy_j", "tp", "fp", "fp_final", "n_off", "dropped"):
        gap = (sampled[name] - expected[name]).astype(np.float64)
        error = gap.std() / gap.size**0.5
        assert abs(gap.mean()) <= 4 * error + 1e-6, name


def test_expected_mode_is_deterministic_given_the_channel() -> None:
    env = batch(8, expected=True, budget_mode="slot")
    seen = play(env, (0.44, 0.75), 3, options={"gamma_db": 10.0})
    assert np.ptp(seen["reward"]) == 0.0
    table = tabulate(env.system.pool, "calib")
    assert seen["reward"][0, 0] == pytest.approx(table.acc[88, 150], rel=1e-5)
    energy = KAPPA * table.mac(0.1)[88, 150] + table.p_off(0.1)[88, 150] * 0.0101035
    assert seen["energy_j"][0, 0] / 20 == pytest.approx(energy, rel=1e-4)


@pytest.mark.parametrize(("share", "fit"), [(0.3, 5.0), (0.9, 14.0), (0.05, 1.0), (0.5, 20.0)])
def test_served_share_is_that_of_a_binomial(share: float, fit: float) -> None:
    from scipy import stats

    system = batch(1, expected=True).system
    counts = np.arange(21)
    law = stats.binom(20, share)
    mean = float((law.pmf(counts) * np.minimum(counts, fit)).sum())
    got = system._expectation.served(torch.tensor([share]), torch.tensor([fit]))
    assert float(got[0]) == pytest.approx(mean / (20 * share), rel=1e-5)


def test_always_offload_and_genie(tmp_path: Path) -> None:
    """Check 13: sending everything has the server's tail accuracy and E = E_off; a detector that
    knows sends pi of the events."""
    everything = batch(256, energy_per_mac_j=0.0, split="all")
    seen = play(everything, (0.0, 0.0), 40, options={"gamma_db": 10.0})
    accuracy = everything.system.pool.accuracy["tail"]
    tails = total(seen, "tails_due")
    error = (accuracy * (1 - accuracy) / tails) ** 0.5
    assert total(seen, "tp_correct") / tails == pytest.approx(accuracy, abs=4 * error)
    assert seen["energy_j"] == pytest.approx(20 * 0.0101035, rel=1e-4)
    y = np.array([0] * 8 + [1] * 4 + [2] * 4)
    conf = np.where(y > 0, 0.9, 0.1)[:, None]
    path = trace_file(tmp_path / "knows.npz", conf, y, perfect_server(y, 2))
    genie = batch(256, traces=path, mac_profile="trace", energy_per_mac_j=0.0)
    seen = play(genie, (0.5, 0.5), 10, options={"gamma_db": 10.0})
    assert seen["energy_j"] == pytest.approx(seen["tails_due"] * 0.0101035, rel=1e-4)


def test_f1_of_the_perfect_and_of_the_silent(tmp_path: Path) -> None:
    """Check 17: perfect detector and server: F1 = f_acc = 1; sending nothing: 0."""
    y = np.array([0] * 8 + [1] * 4 + [2] * 4)
    conf = np.where(y > 0, 0.9, 0.1)[:, None]
    path = trace_file(tmp_path / "perfect.npz", conf, y, perfect_server(y, 2))
    for pair, value in (((0.5, 0.5), 1.0), ((1.0, 1.0), 0.0)):
        seen = play(batch(64, traces=path, mac_profile="trace"), pair, 5, **GOOD)
        assert total(seen, "tp_correct") / total(seen, "f1_weight") == value
        assert total(seen, "tp_correct") / total(seen, "tails_due") == value
        found, false = total(seen, "tp"), total(seen, "fp")
        assert 2 * found / (found + false + total(seen, "tails_due")) == value


def test_hierarchical_two_threshold_closed_form(tmp_path: Path) -> None:
    """Check 11: calibrated uniform score, FN cost 1, FP cost 0.8, offload cost 0.2, perfect server:
    thresholds (b, 1 - b/delta) = (.2, .75) and cost b - b^2/2 - b^2/(2 delta) = .155."""
    n = 1000
    score = np.repeat((np.arange(n) + 0.5) / n, n // 10)
    # Of the events of each score the share `score` is tail: a calibrated score.
    place = np.tile((np.arange(n // 10) + 0.5) / (n // 10), n)
    y = (place < score).astype(np.int64)
    path = trace_file(tmp_path / "uniform.npz", score[:, None], y, perfect_server(y, 1))
    env = batch(
        512,
        traces=path,
        mac_profile="trace",
        split="all",
        semantics="confident_local",
        prevalence=float(y.mean()),
    )
    seen = play(env, (0.2, 0.75), 20, **GOOD)
    events = 20 * seen["tp"].size
    missed, false, sent = (total(seen, k) for k in ("fn", "fp_final", "n_off"))
    cost = (missed + 0.8 * false + 0.2 * sent) / events
    assert cost == pytest.approx(0.155, abs=4 * 0.35 / events**0.5)
    assert sent / events == pytest.approx(0.55, abs=4 * 0.5 / events**0.5)


def test_local_sub_classes_are_guessed() -> None:
    """In local_only the sub-class of a found tail is right with probability 1/K = 1/2."""
    seen = play(batch(512, semantics="local_only", final_rule=0.5), (0.0, 1.0), 20)
    found = total(seen, "tp")
    assert total(seen, "tp_correct") / found == pytest.approx(0.5, abs=4 * 0.5 / found**0.5)
    assert total(seen, "energy_tx_j") == 0.0
    assert seen["energy_j"] == pytest.approx(20 * KAPPA * C_N, rel=1e-5)


def test_channel_is_the_first_three_items() -> None:
    """The context of the bandit that the slot budget makes: SNR, whether it is up, the price."""
    full, channel = batch(16), batch(16, observation="channel")
    (a, _), (b, _) = full.reset(seed=4), channel.reset(seed=4)
    assert channel.single_observation_space.shape == (3,)
    for _ in range(3):
        assert np.array_equal(a[:, :3], b)
        assert channel.observation_space.contains(b)
        pair = np.tile(np.float32([0.45, 0.8]), (16, 1))
        a, b = full.step(pair)[0], channel.step(pair)[0]

"""The simulator against quadrature and against the dossier's exact table.

Setting of the table: regimes as a chain, sizes at their means, no learning, no queue, flat price.
"""

from __future__ import annotations

import numpy as np
import pytest
from netgpt_cases import (
    FLOOR,
    OMEGA,
    STATIONARY,
    Floats,
    batch,
    edge_success,
    law,
    per_request,
    play,
)

SUCCESS = {
    0.45: 0.57403, 0.50: 0.63706, 0.55: 0.69618, 0.60: 0.75033,
    0.65: 0.79872, 0.70: 0.84092, 0.75: 0.87679, 0.80: 0.90649,
}  # fmt: skip
"""E_d of sigma(8 (kappa - d)) (dossier, 1.6)."""


def run(tau: float, rows: int = 512, slots: int = 60, **kwargs: object) -> dict[str, Floats]:
    return play(batch(rows=rows, preset="exact", **kwargs), tau, slots)


def near(seen: dict[str, Floats], name: str, expected: float, slack: float = 0.0) -> None:
    """Within three standard errors."""
    mean, error = per_request(seen, name)
    assert abs(mean - expected) <= 3.0 * error + slack, (name, mean, error, expected)


@pytest.mark.parametrize(("kappa", "expected"), SUCCESS.items())
def test_quadrature_gives_the_dossiers_success_of_the_edge(kappa: float, expected: float) -> None:
    assert edge_success(kappa) == pytest.approx(expected, abs=6e-6)
    assert 0.96 * edge_success(0.55) == pytest.approx(0.66834, abs=6e-6)


def test_quadrature_gives_the_dossiers_best_fixed_threshold() -> None:
    fixed = law(0.5832)
    assert fixed.offload == pytest.approx(0.34094, abs=1e-5)
    assert fixed.quality == pytest.approx(0.87393, abs=1e-5)
    assert fixed.utility() == pytest.approx(0.68437, abs=1e-5)


@pytest.mark.parametrize(
    ("tau", "offload", "quality", "utility"),
    [
        (0.0, 0.0, 0.66834, 0.59514),  # AllEdge
        (1.0, 1.0, 0.94525, 0.53078),  # AllCloud, draft paid
        (0.5832, 0.34094, 0.87393, 0.68437),  # BestFixed
        (1e-9, 0.04, 0.66834 + 0.04 * 0.94525, 0.66834 + 0.04 * (0.94525 - 0.341274) - FLOOR),
    ],
)
def test_thresholds_earn_what_the_exact_table_says(
    tau: float, offload: float, quality: float, utility: float
) -> None:
    seen = run(tau)
    near(seen, "offload", offload, 1e-5)
    near(seen, "quality", quality, 1e-5)
    near(seen, "utility", utility, 1e-5)
    if tau == 0.0:
        assert seen["offload"].sum() == 0


def test_pre_mode_earns_what_the_exact_table_says() -> None:
    seen = run(0.7123, mode="pre")
    near(seen, "offload", 0.43919)
    near(seen, "quality", 0.86643)
    near(seen, "utility", 0.67549)
    theirs = law(0.7123, sigma=1.5, gate=False)
    assert theirs.offload == pytest.approx(0.43919, abs=2e-4)
    assert theirs.quality == pytest.approx(0.86643, abs=2e-4)


def test_cloud_without_draft_earns_what_the_exact_table_says() -> None:
    seen = run(1.0, mode="pre")
    near(seen, "quality", 0.94525)
    near(seen, "utility", 0.60398, 1e-5)


def test_the_best_threshold_of_each_regime_earns_the_exact_values() -> None:
    tau = {"G": 0.69964, "M": 0.67148, "P": 0.56101, "X": 0.21870}
    offload = {"G": 0.43301, "M": 0.40855, "P": 0.32561, "X": 0.12980}
    total = 0.0
    for i, (name, value) in enumerate(tau.items()):
        assert law(value).offload == pytest.approx(offload[name], abs=2e-5)
        seen = play(
            batch(rows=256, network=f"frozen:{name}", size_model="deterministic"), value, 40
        )
        near(seen, "offload", offload[name])
        near(seen, "utility", law(value).utility(float(OMEGA[i])), 1e-5)
        total += STATIONARY[i] * law(value).utility(float(OMEGA[i]))
    assert total == pytest.approx(0.69153, abs=2e-5)  # Exact, the dynamic threshold


def test_calibrated_score_gives_the_closed_form_share() -> None:
    seen = play(
        batch(rows=256, preset="calibrated", network="frozen:P"),
        0.587036,
        40,
    )
    edge = 0.506034  # d* = kappa - logit(tau)/a
    below = 6 * edge**2 - 8 * edge**3 + 3 * edge**4
    assert 1 - 0.96 * below == pytest.approx(0.331363, abs=1e-6)
    near(seen, "offload", 0.331363)


def test_calibrated_score_is_the_probability_of_success() -> None:
    seen = play(batch(rows=512, preset="calibrated", info_level=1), 0.5, 20)
    score, right = seen["score"].ravel(), seen["edge_success_each"].ravel()
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (score > max(low, 1e-6)) & (score < low + 0.25)
        gap = (right[inside] - score[inside]).mean()
        assert abs(gap) < 3.0 * 0.5 / np.sqrt(inside.sum())
    assert right[score == 0.0].sum() == 0  # an invalid draft is gated, and wrong


def test_oracle_of_outcomes_earns_the_exact_value() -> None:
    seen = play(batch(rows=512, preset="exact", info_level=1), 0.5, 60)
    best = np.maximum(seen["U_edge_cf"], seen["U_cloud_cf"]).mean((0, 2))
    error = best.std(ddof=1) / np.sqrt(best.size)
    assert abs(best.mean() - 0.80165) < 3 * error
    goes = seen["U_cloud_cf"] > seen["U_edge_cf"]
    assert goes.mean() == pytest.approx(0.31351, abs=2e-3)
    quality = np.where(goes, seen["cloud_success_each"], seen["edge_success_each"]).mean()
    assert quality == pytest.approx(0.98184, abs=2e-3)


def test_expected_rewards_have_the_mean_of_sampled_ones_and_less_variance() -> None:
    sampled, expected = (run(0.5832, reward_mode=m) for m in ("sampled", "expected"))
    assert (sampled["offload"] == expected["offload"]).all()
    gap = (sampled["utility"] - expected["utility"]).sum(0) / sampled["requests"].sum(0)
    assert abs(gap.mean()) < 3 * gap.std(ddof=1) / np.sqrt(gap.size)
    assert expected["reward"].var() < 0.6 * sampled["reward"].var()


def test_routing_accuracy_is_that_of_the_oracle_of_probabilities() -> None:
    seen = run(0.5832, info_level=1, reward_mode="expected")
    goes = seen["U_cloud_cf"] > seen["U_edge_cf"]
    assert goes.mean() == pytest.approx(0.35388, abs=3e-3)  # OracleProb's share
    better = np.maximum(seen["U_cloud_cf"], seen["U_edge_cf"]).mean()
    assert better == pytest.approx(0.70121, abs=2e-3)
    agree = (goes == (seen["sent"] > 0.5)).sum(2)
    assert (agree == seen["routing_right"]).all()


def test_composite_cost_is_zero_without_offloads_and_omega_with_all() -> None:
    assert run(0.0)["cost"].sum() == 0
    near(run(1.0), "cost", float(STATIONARY @ OMEGA))


@pytest.mark.parametrize(("mult", "expected"), [(0.5, 0.71262), (2.0, 0.65768), (3.0, 0.63302)])
def test_price_multipliers_earn_the_exact_values(mult: float, expected: float) -> None:
    """The dynamic thresholds of the flat list at other multipliers (dossier, 6.3)."""
    tau = {
        0.5: (0.7661, 0.7389, 0.6307, 0.2798),
        2.0: (0.5614, 0.5325, 0.4221, 0.1091),
        3.0: (0.4225, 0.3944, 0.2898, 0.0206),
    }[mult]
    omega = OMEGA + 0.4 * 0.2772 * (mult - 1)
    exact = sum(
        w * law(t).utility(float(o)) for w, t, o in zip(STATIONARY, tau, omega, strict=True)
    )
    assert exact == pytest.approx(expected, abs=2e-5)
    env = batch(rows=256, network="frozen:P", size_model="deterministic", price_mult=mult)
    near(play(env, tau[2], 40), "utility", law(tau[2]).utility(float(omega[2])), 1e-5)


def test_skill_of_the_cloud_can_fall_with_difficulty() -> None:
    seen = run(1.0, cloud_slope=1.0)
    near(seen, "quality", 0.995 * (0.95 - 0.4))  # E d = 0.4, never clipped below 0.95

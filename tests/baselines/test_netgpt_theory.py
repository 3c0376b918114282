"""The theorem of the unique threshold against the dossier's numbers (sections 3, 6, 9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import beta, norm

from sixgym.baselines.netgpt.law import GATE, ScoreLaw
from sixgym.baselines.netgpt.laws import DifficultyLaw, ExactLaw, NoisyLaw, score_law
from sixgym.baselines.netgpt.model import FROZEN, STATIONARY, TRANSITION, Model, Network
from sixgym.baselines.netgpt.threshold import (
    analytic_affine,
    calibrated_threshold,
    check_single_crossing,
    crossings,
    difficulty_threshold,
    hard_cloud_gain,
    require_single_crossing,
    sensitivity,
    stale_threshold,
)

MODEL = Model()
PRE = Model(mode="pre", score_noise=1.5)
OMEGA = MODEL.extra_cost(FROZEN)
CALIBRATED = [0.698237, 0.675303, 0.587036, 0.301032]
"""tau* by regime of the score without noise, dossier 6.2."""
GRID = Network(
    np.array([0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0])[:, None],
    np.array([0.010, 0.020, 0.050, 0.100, 0.200, 0.400]),
)


# ------------------------------------------------------------------------------------ constants


def test_stationary_law_of_the_regimes() -> None:
    """Check 1: (6, 6, 5, 3)/20, in detailed balance."""
    flow = STATIONARY[:, None] * TRANSITION
    assert pytest.approx(flow) == flow.T
    assert pytest.approx(STATIONARY) == STATIONARY @ TRANSITION


def test_latencies_and_costs_of_the_regimes() -> None:
    """Check 2, tables 6.1 and 6.2."""
    assert MODEL.edge_latency() == pytest.approx(0.89)
    assert MODEL.floor_cost == pytest.approx(0.0732)
    assert MODEL.megabits() == pytest.approx(4.16672)
    assert MODEL.serving_s() == pytest.approx(1.6)
    assert MODEL.list_price() == pytest.approx(0.2772)
    assert MODEL.cloud_success == pytest.approx(0.94525)
    latency = [1.70167, 1.98834, 3.09168, 6.66672]
    assert MODEL.cloud_latency(FROZEN) == pytest.approx(latency, abs=1e-5)
    assert pytest.approx([0.247013, 0.269947, 0.358214, 0.644218], abs=1e-6) == OMEGA
    assert pytest.approx(0.341274, abs=1e-6) == STATIONARY @ OMEGA
    assert pytest.approx(0.018030, abs=1e-6) == STATIONARY @ (OMEGA - STATIONARY @ OMEGA) ** 2


def test_prices_of_the_schedules() -> None:
    """Table 6.3, P_c in m$; time of use at half price is .1545, a surge .8316."""
    for miss, out, price in ((0.28, 0.42, 0.2772), (0.27, 1.10, 0.309), (0.56, 1.68, 0.6048)):
        assert Model(price_in=miss, price_out=out).list_price() == pytest.approx(price)
    assert 3 * MODEL.list_price() == pytest.approx(0.8316)


def test_text_alone_makes_bandwidth_irrelevant() -> None:
    """Question 7: D = .070720 Mbit without context."""
    assert replace(MODEL, context_bytes=0.0).megabits() == pytest.approx(0.070720)


@pytest.mark.parametrize(
    ("skill", "success"),
    [
        (0.45, 0.57403),
        (0.50, 0.63706),
        (0.55, 0.69618),
        (0.60, 0.75033),
        (0.65, 0.79872),
        (0.70, 0.84092),
        (0.75, 0.87679),
        (0.80, 0.90649),
    ],
)
def test_success_of_the_edge_by_skill(skill: float, success: float) -> None:
    """The quadrature table of 1.6."""
    assert ExactLaw(MODEL, skill).total[0] == pytest.approx(success, abs=5e-6)


def test_a_late_answer_may_cost_extra() -> None:
    """Question 6: behind an edge that took .89 s the cloud is later than 5 s in the bad regime."""
    late = replace(MODEL, w_sla=0.1).extra_cost(FROZEN) - OMEGA
    assert late == pytest.approx([0.0, 0.0, 0.0, 0.1])


# ----------------------------------------------------------------------------------- thresholds


def test_noisy_thresholds_and_shares_of_the_regimes() -> None:
    """Table 6.2, sigma_s = .75."""
    law = NoisyLaw(MODEL)
    tau = law.threshold(OMEGA)
    assert tau == pytest.approx([0.69964, 0.67148, 0.56101, 0.21870], abs=1e-5)
    offload = [0.43301, 0.40855, 0.32561, 0.12980]
    assert law.rates(tau).offload == pytest.approx(offload, abs=1e-5)


def test_calibrated_thresholds_by_formula_bisection_and_grid_search() -> None:
    """Check 3."""
    law = ExactLaw(MODEL)
    assert calibrated_threshold(MODEL, OMEGA) == pytest.approx(CALIBRATED, abs=1e-6)
    assert law.threshold(OMEGA) == pytest.approx(calibrated_threshold(MODEL, OMEGA), abs=1e-9)
    grid = np.arange(1, 10_001) * 1e-4
    best = grid[law.utility(grid, OMEGA[:, None]).argmax(1)]
    assert best == pytest.approx(CALIBRATED, abs=1e-4)


def test_calibrated_shares_by_closed_form() -> None:
    """Check 3: 1 - .96 I(d*), I(x) = 6x^2 - 8x^3 + 3x^4."""
    d = np.array([0.445136, 0.458466, 0.506034, 0.655298])
    law = ExactLaw(MODEL)
    tau = law.threshold(OMEGA)
    assert law.difficulty(tau) == pytest.approx(d, abs=1e-6)
    share = 1 - 0.96 * (6 * d**2 - 8 * d**3 + 3 * d**4)
    assert law.rates(tau).offload == pytest.approx(share, abs=2e-6)
    assert share == pytest.approx([0.422996, 0.402146, 0.331363, 0.156616], abs=2e-6)


@pytest.mark.parametrize(
    ("mult", "tau", "utility"),
    [
        (0.5, (0.7661, 0.7389, 0.6307, 0.2798), 0.71262),
        (2.0, (0.5614, 0.5325, 0.4221, 0.1091), 0.65768),
        (3.0, (0.4225, 0.3944, 0.2898, 0.0206), 0.63302),
    ],
)
def test_thresholds_by_price(mult: float, tau: tuple[float, ...], utility: float) -> None:
    """Table 6.3: thresholds fall as the price rises."""
    law = NoisyLaw(MODEL)
    best, value = law.best(MODEL.extra_cost(FROZEN._replace(mult=mult)))
    assert best == pytest.approx(tau, abs=5.1e-5)
    assert STATIONARY @ value == pytest.approx(utility, abs=5e-6)


def test_stale_scorer() -> None:
    """Check 6: at skill .60 and a scorer from .55 the threshold of G falls to .6080."""
    skill, old = 0.60, 0.55
    assert stale_threshold(MODEL, OMEGA, skill, old)[0] == pytest.approx(0.608000, abs=1e-6)
    assert expit(logit(0.69825) - 8 * 0.05) == pytest.approx(0.608016, abs=1e-6)
    solved = ExactLaw(MODEL, skill, old).threshold(OMEGA)
    assert solved == pytest.approx(stale_threshold(MODEL, OMEGA, skill, old), abs=1e-9)


def test_difficulty_score() -> None:
    """Check 7: .45 + logit(.698237/.96)/8 = .5726."""
    tau = difficulty_threshold(MODEL, OMEGA, 0.55)
    assert tau[0] == pytest.approx(0.5726, abs=5e-5)
    assert DifficultyLaw(MODEL).threshold(OMEGA) == pytest.approx(tau, abs=1e-9)


def test_limits_of_the_threshold() -> None:
    """Check 8: a perfect network, no costs, a high value, a distant cloud."""
    best = Network(np.array(np.inf), np.array(0.0), 0.0)
    assert calibrated_threshold(MODEL, MODEL.extra_cost(best)) == pytest.approx(0.81725)
    free = replace(MODEL, w_latency=0.0, w_price=0.0)
    assert ExactLaw(free).threshold(free.extra_cost(FROZEN)) == pytest.approx([0.94525] * 4)
    dear = replace(MODEL, value=1e9)
    assert ExactLaw(dear).threshold(dear.extra_cost(FROZEN)) == pytest.approx([0.94525] * 4)
    far = Network(np.array(np.inf), np.array([2.942, 2.944]))
    assert (calibrated_threshold(MODEL, MODEL.extra_cost(far)) > 0).tolist() == [True, False]


def test_ends_of_the_threshold() -> None:
    """Check 9, (18): nothing pays; only invalid drafts pay; everything pays."""
    law, pre = NoisyLaw(MODEL), NoisyLaw(PRE)
    assert law.threshold([0.95, 0.94]).tolist() == [0.0, GATE]
    assert pre.threshold([0.95, 0.94])[0] == 0.0
    useless = replace(MODEL, skill0=-3.0)
    assert NoisyLaw(useless).threshold(0.94).item() == 1.0
    weak = replace(MODEL, schema_cloud=0.001)
    assert NoisyLaw(weak).threshold(0.0).item() < 0.1
    assert NoisyLaw(replace(PRE, schema_cloud=0.0)).threshold(0.0).item() == 0.0


def test_the_gate_is_worth_its_jump() -> None:
    """At tau = 0 invalid drafts are kept, at GATE they are sent; J jumps by 4 % (p_c - omega)."""
    law = NoisyLaw(MODEL)
    jump = law.utility(GATE, 0.3) - law.utility(0.0, 0.3)
    assert jump == pytest.approx(0.04 * (0.94525 - 0.3), abs=1e-6)


@pytest.mark.parametrize("law", [NoisyLaw(MODEL), NoisyLaw(PRE), ExactLaw(MODEL, 0.6, 0.5, 0.2)])
def test_the_threshold_is_best_of_all_rules(law: ScoreLaw) -> None:
    """(18): send every bin of the score that gains; no rule on the score does better."""
    edge = np.concatenate([[GATE], np.linspace(0.0, 1.0, 4001)[1:]])
    if law.low > 0.0:
        edge = np.linspace(law.low + 1e-9, law.high - 1e-9, 4001)
    for omega in OMEGA:
        value = law.utility(edge, omega)
        any_rule = value[0] + np.clip(np.diff(value), 0.0, None).sum()
        assert law.best(omega)[1] == pytest.approx(any_rule, abs=1e-12, rel=1e-7)
        assert law.best(omega)[1] >= any_rule - 1e-9


# ------------------------------------------------------------------------------------ the law


@pytest.mark.parametrize("score", [0.05, 0.4, 0.9])
def test_quadrature_against_adaptive_integration(score: float) -> None:
    """F, q_e and the integral of q_e f of 3.4 (d), and their consistency."""
    law = NoisyLaw(MODEL, 0.6, 0.55, 0.1)
    ell = logit(score)

    def integral(kernel: Callable[..., float], *, of_edge: bool) -> float:
        def integrand(d: float) -> float:
            edge = expit(8 * (0.6 - d)) if of_edge else 1.0
            return float(edge * kernel(ell, 8 * (0.55 - d) + 0.1, 0.75) * beta.pdf(d, 2, 3))

        return float(quad(integrand, 0, 1, epsabs=1e-12)[0])

    found = law.below(np.array(score))
    assert found.share == pytest.approx(integral(norm.cdf, of_edge=False), abs=1e-10)
    assert found.edge == pytest.approx(integral(norm.cdf, of_edge=True), abs=1e-10)
    posterior = integral(norm.pdf, of_edge=True) / integral(norm.pdf, of_edge=False)
    assert law.successes(np.array(score))[0] == pytest.approx(posterior, abs=1e-10)


def test_little_noise_is_nearly_none() -> None:
    """The quadrature holds down to .1; below it the law without noise stands in."""
    quiet = score_law(replace(MODEL, score_noise=0.1))
    assert isinstance(quiet, NoisyLaw)
    assert quiet.threshold(OMEGA) == pytest.approx(CALIBRATED, abs=2e-3)
    assert isinstance(score_law(replace(MODEL, score_noise=0.05)), ExactLaw)
    with pytest.raises(ValueError, match=r"score_noise=0\.05: allowed here"):
        NoisyLaw(replace(MODEL, score_noise=0.05))


def test_rates_against_a_simulation() -> None:
    """A million requests drawn as in 1.6 and 1.7, gate and pre mode; 4 standard errors."""
    rng = np.random.default_rng(5)
    n, tau = 1_000_000, 0.6
    d = rng.beta(2, 3, n)
    valid, right = rng.random(n) < 0.96, rng.random(n) < expit(8 * (0.55 - d))
    cloud_valid = rng.random(n) < 0.995
    cloud = cloud_valid & (rng.random(n) < 0.95)
    noise = rng.standard_normal(n)
    for model in (MODEL, PRE):
        score = expit(8 * (0.55 - d) + model.score_noise * noise)
        sent = np.where(valid | (model.mode == "pre"), score, 0.0) < tau
        rates = NoisyLaw(model).rates(tau)
        for told, drawn in zip(
            rates,
            (sent, np.where(sent, cloud, valid & right), np.where(sent, cloud_valid, valid)),
            strict=True,
        ):
            assert drawn.mean() == pytest.approx(told, abs=4 * 0.5 / np.sqrt(n))


def test_the_weight_of_the_schema_moves_the_threshold() -> None:
    """(16): behind the gate a kept draft is valid, so the weight holds offloads back."""
    strict = replace(MODEL, w_schema=0.5)
    tau = NoisyLaw(strict).threshold(OMEGA)
    assert (tau < NoisyLaw(MODEL).threshold(OMEGA)).all()
    grid = np.linspace(0.0, 1.0, 20_001)[1:]
    best = grid[NoisyLaw(strict).utility(grid, OMEGA[:, None]).argmax(1)]
    assert tau == pytest.approx(best, abs=1e-4)
    pre = replace(PRE, w_schema=0.5)
    assert (NoisyLaw(pre).threshold(OMEGA) > NoisyLaw(PRE).threshold(OMEGA)).all()


# ------------------------------------------------------------------------------ single crossing


def test_the_counter_example_needs_two_thresholds() -> None:
    """3.10: Delta = .25 at .4361 and .9168; one threshold is strictly worse than an interval."""
    assert not check_single_crossing(hard_cloud_gain)
    roots = crossings(hard_cloud_gain, 0.25)
    assert roots == pytest.approx([0.4361, 0.9168], abs=5e-5)
    d = np.linspace(0.0, 1.0, 20_001)
    gain = (hard_cloud_gain(d) - 0.25) * beta.pdf(d, 2, 3) / 20_000
    interval = gain[(d > roots[0]) & (d < roots[1])].sum()
    harder_than = np.cumsum(gain[::-1]).max()
    # Few requests are that hard: the difference is 8.8e-5, far above the error of the sums.
    assert interval - harder_than == pytest.approx(8.85e-5, abs=1e-6)
    assert interval == pytest.approx(np.clip(gain, 0, None).sum())
    with pytest.raises(ValueError, match="allowed: strictly falling"):
        require_single_crossing(hard_cloud_gain)


@pytest.mark.parametrize("law", [NoisyLaw(MODEL), NoisyLaw(PRE), DifficultyLaw(MODEL)])
def test_the_models_of_the_dossier_cross_once(law: ScoreLaw) -> None:
    assert check_single_crossing(law.gain, 1e-6, 1 - 1e-6)
    require_single_crossing(law.gain, 1e-6, 1 - 1e-6)
    assert len(crossings(law.gain, 0.3, 1e-6, 1 - 1e-6)) == 1


def test_a_cloud_that_fails_faster_breaks_the_condition() -> None:
    """With c_1 large Delta rises: A1 fails."""
    law = DifficultyLaw(replace(MODEL, cloud_slope=3.0))
    assert not check_single_crossing(law.gain)


def random_law(rng: np.random.Generator) -> tuple[NoisyLaw, float]:
    """A model that meets A1 to A3, and a cost of the cloud."""
    mode = "cascade" if rng.random() < 0.5 else "pre"
    model = Model(
        mode=mode,  # type: ignore[arg-type]
        schema_gate=bool(rng.random() < 0.7),
        edge_slope=float(rng.uniform(3, 14)),
        skill0=float(rng.uniform(0.3, 0.8)),
        schema_edge=float(rng.uniform(0.7, 1.0)),
        cloud_acc=float(rng.uniform(0.8, 1.0)),
        score_noise=float(rng.uniform(0.3, 2.0)),
        value=float(rng.uniform(0.5, 2.0)),
    )
    skill_rm = float(rng.uniform(0.3, 0.8))
    law = NoisyLaw(model, skill_rm=skill_rm, bias=float(rng.normal(0, 0.3)))
    return law, float(rng.uniform(0.05, 0.6))


def one_peak_at_the_threshold(law: NoisyLaw, omega: float) -> None:
    grid = np.concatenate([[GATE], np.linspace(0.0, 1.0, 2001)[1:]])
    rises = np.diff(law.utility(grid, omega))
    # Steps of less than rounding error are flat.
    signs = np.sign(np.where(np.abs(rises) < 1e-13, 0.0, rises))
    signs = signs[signs != 0]
    assert (np.diff(signs) <= 0).all()
    tau, value = law.best(omega)
    values = law.utility(np.concatenate([[0.0], grid]), omega)
    assert value >= values.max() - 1e-12
    if GATE < tau < 1.0:
        # Where hardly a request has such a score, J is flat to rounding: several points are best.
        best = grid[values[1:] >= values.max() - 1e-14]
        assert np.abs(best - tau).min() <= 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_utility_has_one_peak(seed: int) -> None:
    """Claim C1 on 15 random models; the whole 200 are slow."""
    rng = np.random.default_rng(seed)
    for _ in range(5):
        one_peak_at_the_threshold(*random_law(rng))


@pytest.mark.slow
def test_utility_has_one_peak_in_200_random_models() -> None:
    """Claim C1."""
    rng = np.random.default_rng(99)
    for _ in range(200):
        one_peak_at_the_threshold(*random_law(rng))


# ----------------------------------------------------------------------------------- monotone


@pytest.mark.parametrize("law", [NoisyLaw(MODEL), NoisyLaw(PRE), ExactLaw(MODEL)])
def test_thresholds_rise_with_bandwidth_and_fall_with_rtt_and_price(law: ScoreLaw) -> None:
    """3.3, claim C2, on the controlled grid of 6.2, wherever the threshold is interior."""
    tau = law.threshold(law.model.extra_cost(GRID))
    inner = (tau > 1e-6) & (tau < 1 - 1e-6)
    assert (np.diff(tau, axis=0)[inner[:-1] & inner[1:]] > 0).all()
    assert (np.diff(tau, axis=1)[inner[:, :-1] & inner[:, 1:]] < 0).all()
    dearer = law.threshold(law.model.extra_cost(GRID._replace(mult=1.5)))
    assert (dearer[inner] < tau[inner]).all()
    share = law.rates(tau).offload
    assert (np.diff(share, axis=0) >= 0).all()
    assert (np.diff(share, axis=1) <= 0).all()


@settings(max_examples=30, deadline=None)
@given(
    st.floats(0.5, 100.0),
    st.floats(0.0, 0.5),
    st.floats(0.25, 3.0),
    st.floats(1.05, 3.0),
)
def test_weights_and_value_move_the_threshold(
    bandwidth: float, rtt: float, mult: float, factor: float
) -> None:
    """3.3: lambda_L, lambda_P up, tau down; V up, tau up (cascade)."""
    network = Network(np.array(bandwidth), np.array(rtt), mult)

    def tau(model: Model) -> float:
        return float(ExactLaw(model).threshold(model.extra_cost(network)))

    here = tau(MODEL)
    assert tau(replace(MODEL, w_latency=0.08 * factor)) <= here
    assert tau(replace(MODEL, w_price=0.4 * factor)) <= here
    assert tau(replace(MODEL, value=factor)) >= here


def test_slopes_of_the_calibrated_threshold() -> None:
    """Check 5: -.24 per s, .333338/B^2 per Mbit/s, -.11088 per unit of m."""
    slope = sensitivity(ExactLaw(MODEL), FROZEN)
    assert slope.rtt == pytest.approx([-0.24] * 4, abs=1e-6)
    assert slope.bandwidth == pytest.approx(0.333338 / FROZEN.bandwidth**2, rel=1e-5)
    assert slope.bandwidth[1] == pytest.approx(8.333e-4, abs=1e-7)
    assert slope.mult == pytest.approx([-0.11088] * 4, abs=1e-6)


@pytest.mark.parametrize("model", [MODEL, PRE])
def test_slopes_against_differences(model: Model) -> None:
    """(19) for the noisy score, every variable, by central differences."""
    network = Network(np.array(15.0), np.array(0.08), 1.3)
    slope = sensitivity(NoisyLaw(model), network)
    h = 1e-4

    def tau(model: Model, network: Network) -> float:
        return float(NoisyLaw(model).threshold(model.extra_cost(network)))

    for name in ("rtt", "bandwidth", "mult"):
        value = getattr(network, name)
        sides = [tau(model, network._replace(**{name: value + s})) for s in (h, -h)]
        assert getattr(slope, name) == pytest.approx((sides[0] - sides[1]) / (2 * h), rel=1e-4)
    for name in ("w_latency", "w_price", "value"):
        value = getattr(model, name)
        sides = [tau(replace(model, **{name: value + s}), network) for s in (h, -h)]
        assert getattr(slope, name) == pytest.approx((sides[0] - sides[1]) / (2 * h), rel=1e-4)


def test_in_pre_mode_a_slow_edge_turns_the_sign_of_the_latency_weight() -> None:
    """3.3: the sign is that of L_e - L_c."""
    slow = replace(PRE, decode_rate=25.0)
    network = Network(np.array(50.0), np.array(0.02))
    assert sensitivity(NoisyLaw(slow), network).w_latency > 0
    assert sensitivity(NoisyLaw(PRE), network).w_latency < 0


# ------------------------------------------------------------------------------------- FuncDyn


def test_funcdyn_is_exact_for_a_calibrated_score() -> None:
    """Check 4: to 1e-12 on a 50 x 50 grid; coefficients .81725, .24, .333338, .11088."""
    affine = analytic_affine(MODEL)
    assert affine == pytest.approx((0.81725, 0.24, 0.333338, 0.11088), abs=5e-7)
    grid = Network(np.geomspace(0.5, 100, 50)[:, None], np.linspace(0.005, 0.5, 50))
    exact = calibrated_threshold(MODEL, MODEL.extra_cost(grid))
    assert (exact > 0).mean() > 0.8
    assert affine.thresholds(grid) == pytest.approx(exact, abs=1e-12)


def test_funcdyn_coefficients_in_pre_mode_and_with_a_schema_weight() -> None:
    """They reproduce p_c - delta, whatever makes delta up."""
    for model in (replace(PRE, w_schema=0.1), replace(MODEL, w_schema=0.1, value=2.0)):
        tau = calibrated_threshold(model, model.extra_cost(FROZEN))
        assert analytic_affine(model).thresholds(FROZEN) == pytest.approx(tau, abs=1e-12)

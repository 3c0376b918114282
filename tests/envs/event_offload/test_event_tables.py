"""Exact tabulation: equal to a loop over events and pairs, with the laws that the counts obey."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sixgym.envs.core.errors import ParamsError
from sixgym.envs.event_offload.rule import run_rule
from sixgym.envs.event_offload.score_models import BetaScores, GaussianLLR
from sixgym.envs.event_offload.scores import EventPool, named_pool
from sixgym.envs.event_offload.tables import (
    MAX_POINTS,
    ThresholdTable,
    single_threshold,
    tabulate,
    terminal,
    threshold_grid,
    upper_threshold,
)

RULES = ("head", "mid", "tail", 0.35)
SEMANTICS = ("detect_then_offload", "confident_local", "local_only")


def random_pool(events: int, exits: int, classes: int, seed: int, step: float = 0.0) -> EventPool:
    """A pool of unstructured scores; with a step they lie on multiples of it, ties included."""
    rng = np.random.default_rng(seed)
    conf = rng.uniform(0.001, 0.999, (events, exits)).astype(np.float32)
    if step:
        conf = np.clip(np.round(conf / step) * step, 1e-6, 1 - 1e-6).astype(np.float32)
    server = rng.dirichlet(np.ones(classes + 1), events).astype(np.float32)
    y = rng.integers(0, classes + 1, events).astype(np.int8)
    y[:2] = 0, 1
    macs = np.cumsum(rng.uniform(1, 5, exits))
    return EventPool(conf, server, y, np.zeros(events, np.int8), macs)


def by_hand(pool, low, high, rule, server_mode, semantics):
    """The nine numbers of one pair by a loop over events: (tpr, fpr, acc, ...) as in the table."""
    tails, heads = int((pool.y > 0).sum()), int((pool.y == 0).sum())
    sums = dict.fromkeys(ThresholdTable.__dataclass_fields__, 0.0)
    half = np.float32(0.5)
    for scores, server, y in zip(pool.conf, pool.server, pool.y, strict=True):
        alarm = offload = False
        for n, c in enumerate(scores):
            mac = pool.macs[n]
            if c < low:
                break
            if c > high:
                alarm = True
                break
        else:
            last = scores[-1]
            final = {"head": False, "tail": True, "mid": last > (low + high) * half}
            fires = final[rule] if isinstance(rule, str) else last > np.float32(rule)
            if semantics == "confident_local":
                offload = True
            else:
                alarm = fires
        if semantics == "detect_then_offload":
            alarm, offload = False, alarm
        answer = 1 + server[1:].argmax() if server_mode == "tail_only" else server.argmax()
        group, size = ("tail", tails) if y > 0 else ("head", heads)
        sums[f"mac_{group}"] += mac / size
        sums[f"off_{group}"] += offload / size
        if y > 0:
            sums["tpr"] += (alarm or offload) / size
            named = alarm / pool.num_classes + (offload and answer == y)
            sums["acc"] += named / size
        else:
            sums["fpr"] += (alarm or offload) / size
            sums["fpr_final"] += (alarm or (offload and answer > 0)) / size
    del sums["grid"]
    return sums


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("rule", RULES)
def test_table_equals_a_loop_over_events_and_pairs(rule, semantics):
    # Scores on grid points too: strict inequalities, in float32 (dossier 9.3).
    for seed, (exits, classes, step) in enumerate([(3, 2, 0.1), (1, 1, 0.05), (4, 3, 0.0)]):
        pool = random_pool(40, exits, classes, seed, step)
        mode = ("any", "tail_only")[seed % 2]
        table = tabulate(pool, "all", 11, rule, mode, semantics)
        for i, j in itertools.product(range(11), repeat=2):
            if i > j:
                assert np.isnan(table.tpr[i, j])
                continue
            want = by_hand(pool, table.grid[i], table.grid[j], rule, mode, semantics)
            for name, value in want.items():
                assert getattr(table, name)[i, j] == pytest.approx(value, abs=1e-12), (name, i, j)


@pytest.mark.parametrize("rule", RULES)
def test_table_equals_the_rule_that_the_environments_run(rule):
    pool = named_pool("digits38")
    table = tabulate(pool, "all", 201, rule)
    conf, tail, ok = (torch.tensor(x) for x in (pool.conf, pool.tail, pool.ok()))
    rng = np.random.default_rng(1)
    for i, j in np.sort(rng.integers(0, 201, (60, 2)), axis=1):
        low, high = (torch.tensor(float(table.grid[k])) for k in (i, j))
        verdict = run_rule(conf, low, high, rule)
        assert table.tpr[i, j] == pytest.approx(
            float(verdict.declared_tail[tail].double().mean()), abs=1e-12
        )
        found = (verdict.declared_tail & ok)[tail].double().mean()
        assert table.acc[i, j] == pytest.approx(float(found), abs=1e-12)
        cost = torch.from_numpy(pool.macs)[verdict.exit][~tail].mean()
        assert table.mac_head[i, j] == pytest.approx(float(cost), rel=1e-12)


@pytest.mark.parametrize("rule", ["head", "mid", "tail"])
def test_boundaries(rule):
    # (0,0) sends all at exit 1, (1,1) drops all at exit 1, (0,1) runs everything (dossier 9.1).
    pool = named_pool("digits38")
    table = tabulate(pool, "all", 201, rule)
    p_off, mac = table.p_off(0.1), table.mac(0.1)
    first, last = pool.macs[0], pool.macs[-1]
    assert (p_off[0, 0], mac[0, 0]) == pytest.approx((1.0, first), rel=1e-12)
    assert (p_off[-1, -1], mac[-1, -1]) == pytest.approx((0.0, first), rel=1e-12)
    assert mac[0, -1] == pytest.approx(last, rel=1e-12)
    if rule != "mid":
        assert p_off[0, -1] == {"head": 0.0, "tail": 1.0}[rule]


@given(seed=st.integers(0, 10_000), rule=st.sampled_from(RULES), pi=st.floats(0.0, 1.0))
@settings(max_examples=25, deadline=None)
def test_identities_and_monotonicity(seed, rule, pi):
    # P_off = pi TPR + (1 - pi) FPR; TPR, FPR, f_acc fall in both thresholds; MAC falls in the
    # lower and grows in the upper one (dossier 1.4, 1.9, 9.2, 9.3).
    pool = random_pool(300, 4, 2, seed, step=0.02 * (seed % 2))
    table = tabulate(pool, "all", 21, rule)
    points = table.at(pi)
    assert points.p_off == pytest.approx(pi * points.tpr + (1 - pi) * points.fpr, abs=1e-12)
    assert (points.f_acc <= points.tpr + 1e-12).all()
    assert points.energy(2.0, 3.0) == pytest.approx(2 * points.mac + 3 * points.p_off, rel=1e-12)
    for name in ("tpr", "fpr", "acc", "fpr_final"):
        array = getattr(table, name)
        for axis in (0, 1):
            change = np.diff(array, axis=axis)
            assert (change[~np.isnan(change)] <= 1e-12).all(), name
    for mac in (table.mac_tail, table.mac_head):
        down, up = np.diff(mac, axis=0), np.diff(mac, axis=1)
        assert (down[~np.isnan(down)] <= 1e-9).all()
        assert (up[~np.isnan(up)] >= -1e-9).all()
    table_again = tabulate(pool, "all", 21, rule)
    assert table_again is table


@pytest.mark.parametrize(
    ("pi", "p", "b", "tpr", "fpr"),
    [(0.1, 0.1, 3 / 4, 7 / 16, 1 / 16), (0.2, 0.2, 2 / 3, 5 / 9, 1 / 9),
     (0.1, 0.2, 0.609612, 0.628373, 0.152403), (0.5, 0.3, 0.7, 0.51, 0.09)],
)  # fmt: skip
def test_one_exit_with_beta_scores_has_its_closed_form(pi, p, b, tpr, fpr):
    # TPR = 1 - b^2, FPR = (1 - b)^2; the best b under P_off <= p (dossier 9.4).
    if pi != 0.5:
        root = np.sqrt((1 - pi) ** 2 - (1 - 2 * pi) * (1 - p))
        assert ((1 - pi) - root) / (1 - 2 * pi) == pytest.approx(b, abs=1e-6)
    assert (1 - b * b, (1 - b) ** 2) == pytest.approx((tpr, fpr), abs=1e-6)
    points = tabulate(beta_pool(1), "all", 201).at(pi)
    allowed = points.p_off <= p
    best = points.take(np.flatnonzero(allowed)[[points.tpr[allowed].argmax()]])
    # 100,000 events a class (standard error .0016) and a grid step of .005.
    assert best.tpr[0] == pytest.approx(tpr, abs=0.012)
    assert best.fpr[0] == pytest.approx(fpr, abs=0.008)


_BETA: dict[int, EventPool] = {}


def beta_pool(exits: int) -> EventPool:
    if exits not in _BETA:
        _BETA[exits] = BetaScores((1.0,) * exits).pool(100_000)
    return _BETA[exits]


def test_two_independent_exits_have_their_closed_form():
    # P(d|z) = S(bu) + [S(bl) - S(bu)] S(bu): .558 and .058; reach .55 and .45; with the middle
    # rule .743625 and .131125 (dossier 9.5). Four standard errors are .006.
    pool = beta_pool(2)
    table = tabulate(pool, "all", 11)
    assert (table.tpr[3, 8], table.fpr[3, 8]) == pytest.approx((0.558, 0.058), abs=0.006)
    reach = (table.mac_tail[3, 8] - 1.0, table.mac_head[3, 8] - 1.0)  # blocks cost 1 each
    assert reach == pytest.approx((0.55, 0.45), abs=0.006)
    middle = tabulate(pool, "all", 11, "mid")
    assert (middle.tpr[3, 8], middle.fpr[3, 8]) == pytest.approx((0.743625, 0.131125), abs=0.006)


def test_gaussian_exit_has_its_closed_form():
    # TPR = Phi((d^2/2 - t)/d), FPR = Phi((-d^2/2 - t)/d) (dossier 9.6).
    model = GaussianLLR((1.4657,))
    table = tabulate(model.pool(100_000), "all", 21)
    for j in (4, 10, 15):
        beta = float(table.grid[j])
        llr = np.log(beta / (1 - beta))
        want = model.tpr(0, llr), model.fpr(0, llr)
        assert (table.tpr[0, j], table.fpr[0, j]) == pytest.approx(want, abs=0.006)


def test_two_threshold_hierarchy_has_its_closed_form():
    # Calibrated uniform score, costs 1 for a miss, delta for a false alarm, b for an offload:
    # thresholds (b, 1 - b/delta) = (.2, .75), cost b - b^2/2 - b^2/(2 delta) = .155 (dossier 9.11).
    b, delta = 0.2, 0.8
    table = tabulate(beta_pool(1), "all", 101, semantics="confident_local")
    alarm = table.fpr - table.off_head
    cost = 0.5 * (1 - table.tpr) + 0.5 * delta * alarm + b * table.p_off(0.5)
    assert table.nearest(np.array([b, 1 - b / delta])).tolist() == [20, 75]
    assert cost[20, 75] == pytest.approx(0.155, abs=0.002)
    assert np.nanmin(cost) == pytest.approx(0.155, abs=0.002)
    i, j = np.unravel_index(np.nanargmin(cost), cost.shape)
    assert (i, j) == (pytest.approx(20, abs=4), pytest.approx(75, abs=4))


def test_exact_grid_is_at_least_as_good_as_any_other():
    pool = random_pool(120, 3, 2, 7)
    exact = tabulate(pool, "all", "exact").at(0.1)
    for size in (21, 201):
        uniform = tabulate(pool, "all", size).at(0.1)
        for share in (0.05, 0.1, 0.3):
            best, other = (p.f_acc[p.p_off <= share].max() for p in (exact, uniform))
            assert best >= other - 1e-12


def test_nearest_grid_point():
    table = tabulate(random_pool(10, 2, 1, 0), "all", 11)
    assert table.nearest(np.array([0.0, 0.04, 0.06, 0.96, 1.0])).tolist() == [0, 0, 1, 10, 10]


def test_families_lie_in_the_table():
    pool = named_pool("digits38")
    table = tabulate(pool, "all")
    single = single_threshold(table, 0.1)
    assert len(single.low) == 101  # tau = .5, .505, ..., 1
    assert single.low + single.high == pytest.approx(1.0, abs=1e-6)
    upper = upper_threshold(table, 0.1)
    assert len(upper.low) == 201
    assert (upper.low == 0).all()
    full = terminal(pool, 0.1, "all")
    assert (full.mac == pool.macs[-1]).all()
    assert (full.tpr[0], full.tpr[-1]) == (1.0, 0.0)
    at = int(np.flatnonzero(full.high >= 0.5)[0])
    by_rule = tabulate(pool, "all", final_rule=float(full.high[at]))
    assert by_rule.tpr[0, -1] == full.tpr[at]
    assert by_rule.acc[0, -1] == full.f_acc[at]


def test_split_decides_which_events_count():
    pool = named_pool("digits38")
    calib, test, both = (tabulate(pool, part, 21) for part in ("calib", "test", "all"))
    tails = [int((pool.part(part) & pool.tail).sum()) for part in ("calib", "test")]
    mixed = (calib.tpr * tails[0] + test.tpr * tails[1]) / sum(tails)
    assert np.nanmax(abs(mixed - both.tpr)) < 1e-12
    assert np.nanmax(abs(calib.tpr - test.tpr)) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "train"}, "split='train'"),
        ({"grid": 1}, "grid=1: allowed"),
        ({"grid": "fine"}, "grid='fine'"),
        ({"final_rule": "middle"}, "final_rule='middle'"),
        ({"final_rule": 1.5}, "final_rule=1.5"),
        ({"semantics": "both"}, "semantics='both'"),
    ],
)
def test_faulty_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ParamsError, match=message):
        tabulate(named_pool("digits38"), **arguments)


def test_too_large_exact_grid_is_refused():
    with pytest.raises(ParamsError, match=f"allowed: <= {MAX_POINTS}"):
        threshold_grid(named_pool("digits38"), "all", "exact")
    even = tabulate(named_pool("digits38"), "all", 20)
    with pytest.raises(ParamsError, match="odd number of points"):
        single_threshold(even, 0.1)

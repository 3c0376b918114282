"""Claims about twin mobility: what judges them, on hand-made numbers and at small size."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sixgym.baselines.policy import load_baselines
from sixgym.envs.core import registry
from sixgym.leaderboard import stats
from sixgym.leaderboard.claims import (
    twin_mobility,
    twin_mobility_aggregation,
    twin_mobility_exact,
    twin_mobility_fidelity,
    twin_mobility_rounds,
    twin_mobility_sweeps,
)
from sixgym.leaderboard.claims.framework import Evidence, Play
from sixgym.leaderboard.claims.rules import verdict
from sixgym.leaderboard.claims.twin_mobility_fidelity import Slack
from sixgym.leaderboard.claims.twin_mobility_rounds import Course, Passes
from sixgym.leaderboard.claims.twin_mobility_solved import (
    Solved,
    common,
    geometric,
    penalty,
    solved,
    tabled,
    trend,
)
from sixgym.leaderboard.claims.twin_mobility_sweeps import Compressing, Speeds
from sixgym.leaderboard.runner import make_rows

IDS = ("sixgym/TwinSync-v0", "sixgym/TwinRound-v0", "sixgym/AgentAggregation-v0")
NAMES = ["C1", "C2", "C3", "C4", "C4b", "C5", "C6", "C7", "C8", "C8b", "C8c", "C8d", "C9", "C9b"]
LUCK = np.exp(np.random.default_rng(0).normal(0.0, 0.1, 32))
"""Of 32 rounds or episodes, common to all."""


class Told(Evidence):
    """Evidence made up: values of plays by policy and parameters, with the same luck for all.

    Args:
        value: of a play and score.
        seeds: of trained policies.
    """

    def __init__(self, value: Any, seeds: int = 5) -> None:
        super().__init__({})
        self._value, self._seeds = value, seeds

    def sample(self, one: Play, score: str | None = None) -> stats.Sample:
        runs = self._seeds if one.needs_weights else 1
        return stats.sample(np.tile(self._value(one, score) * LUCK, (runs, 1)))

    def value(self, one: Play, score: str | None = None) -> stats.Interval:
        return stats.ratio_interval(self.sample(one, score))

    def result(self, one: Play) -> Any:
        curve = [(0, 8.0), (100, 3.1)]
        return SimpleNamespace(runs=[SimpleNamespace(curve=curve)] * self._seeds)


def judged(id: str, evidence: Evidence | None = None) -> Any:
    found = next(claim for claim in twin_mobility.CLAIMS if claim.id == id)
    return found.judge(Evidence({}) if evidence is None else evidence)


def made(gamma: float, *, missing: int = 0, speed: float = 18.0, ratio: float = 0.2) -> Solved:
    """A scheme with so large deviations in the mean, and so many rounds without a solution."""
    feasible = np.arange(len(LUCK)) >= missing
    return Solved(np.where(feasible, gamma * LUCK, 1000.0), feasible, speed * LUCK, ratio * LUCK)


# ------------------------------------------------------------------------------------ the table


def test_all_three_ids_have_the_same_claims() -> None:
    for id in IDS:
        assert registry.entry(id).claims == twin_mobility.__name__
    assert [claim.id for claim in twin_mobility.CLAIMS] == NAMES


def test_only_the_abstracts_findings_are_called_the_papers() -> None:
    marks = {claim.id: claim.mark for claim in twin_mobility.CLAIMS}
    assert [id for id, mark in marks.items() if mark.startswith("[paper")] == NAMES[:4]
    assert all(marks[id].startswith("[notes") for id in ("C8", "C8b", "C8c", "C8d"))


def test_every_play_of_a_claim_can_be_made() -> None:
    """Names exist and parameters are in range; trained policies may be absent."""
    for one in {one for claim in twin_mobility.CLAIMS for one in claim.plays}:
        make_rows(one.env_id, 1, dict(one.params))
        if not one.needs_weights:
            assert one.policy in load_baselines(one.env_id)


def test_a_learned_claim_is_retrained_by_its_configuration(monkeypatch, tmp_path) -> None:
    run = SimpleNamespace(folder=tmp_path / "mappo" / "seed_0")
    asked: list[str] = []
    monkeypatch.setattr(
        "sixgym.agents.train_from_config", lambda name, output: asked.append(name) or [run]
    )
    assert twin_mobility.retrain("mappo", tmp_path) == tmp_path / "mappo"
    assert asked == ["twin_mobility/mappo"]


# ---------------------------------------------------------------------------------- comparisons


def test_ratios_are_geometric_means_over_the_rounds_that_both_solve() -> None:
    assert geometric(np.array([1.0, 4.0])).value == pytest.approx(2.0)
    half = penalty(made(3.0, missing=5), made(2.0, missing=2))
    assert half == pytest.approx((1.5,) * 3)  # the luck is common; 1000 counts nowhere
    assert np.isnan(penalty(made(3.0, missing=32), made(2.0)).value)
    assert common([made(1.0, missing=3), made(1.0, missing=4)]).sum() == 28


@pytest.mark.parametrize(
    ("means", "why"),
    [
        ([1.0, 2.0, 3.0], ""),
        ([1.0, 2.0, 1.9], "from b to c it changes by -0.1"),
    ],
)
def test_a_trend_goes_one_way_at_every_step(means: list[float], why: str) -> None:
    values = np.array(means)[:, None] + np.zeros(8)
    finding = trend("it", values, "abc", rises=True)
    assert finding.holds == (not why)
    assert why in finding.why_not
    assert not trend("it", values, "abc", rises=False).holds
    noise = np.stack([np.zeros(8), np.array([2.0, -1.9] * 4)])
    assert "from end to end" in trend("it", noise, "ab", rises=True).why_not
    assert "no common rows" in trend("it", values[:, :0], "abc", rises=True).why_not


# --------------------------------------------------------------------------------- C1: converging


def test_c1_by_hand() -> None:
    one = Course(np.array([[3.0], [2.0]]), np.array([1.0]), always_falls=True, ends=True)
    best = Passes(np.array([[2.0, 1.9] + [1.8] * 11]), np.array([3.0]))
    assert verdict(twin_mobility_rounds.converging({"a": one}, best))[0] == "pass"
    for change, why in (
        ({"always_falls": False}, "from a a move does not lower"),
        ({"ends": False}, "moves are left"),
        ({"moves": np.array([31.0])}, "31 moves"),
    ):
        reason = verdict(twin_mobility_rounds.converging({"a": one._replace(**change)}, best))[1]
        assert why in reason
    late = best._replace(best=np.array([[2.0] * 6 + [1.9] * 7]))
    assert (
        "after 6 passes 6 more gain"
        in verdict(twin_mobility_rounds.converging({"a": one}, late))[1]
    )
    worse = best._replace(best=np.array([[2.0, 2.1] + [1.8] * 11]))
    assert "gets worse" in verdict(twin_mobility_rounds.converging({"a": one}, worse))[1]


def test_lower_in_leximax_order() -> None:
    """The largest decides, then the next; rounding does not."""
    before = torch.tensor([[3.0, 1.0], [3.0, 1.0], [3.0, 1.0], [3.0, 1.0]], dtype=torch.float64)
    after = torch.tensor(
        [[2.9, 2.9], [0.9, 3.0], [3.0, 1.0 - 1e-12], [3.1, 0.0]], dtype=torch.float64
    )
    assert twin_mobility_rounds.is_lower(after, before).tolist() == [True, True, False, False]


def test_a_matching_is_told_move_by_move() -> None:
    table = tabled(4, 2, 4)
    start = torch.zeros(4, 4, dtype=torch.int64)  # all to region 0
    found = twin_mobility_rounds.course(table, start)
    assert found.always_falls
    assert found.ends
    assert (found.moves >= 1).all()
    assert (found.gamma[0] >= 1000.0).all()
    assert (found.gamma[-1] < found.gamma[0]).all()
    assert len(found.gamma) == found.moves.max() + 2  # the start, and a last look
    assert not twin_mobility_rounds.course(table, start, most=1).ends


# -------------------------------------------------------------------------------- C2: superiority

WORSE = {
    "random groups": 2.8,
    "speed 5 m/s": 1.9,
    "no compression": 1.3,
    "proposal only": 1.3,
    "nearest region": 1.3,
    "speed 10 m/s": 1.3,
    "no channel mobility": 1.2,
    "largest speed": 1.0,
    "equal bandwidth": 1.0,
    "full power": 1.005,
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"random groups": 1.5}, "random groups: ratio 1.5"),
        ({"no channel mobility": 1.01}, "no channel mobility: ratio 1.01"),
        ({"largest speed": 0.99}, "largest speed: ratio 0.99"),
        ({"full power": 1.02}, "full power: ratio 1.02"),
    ],
)
def test_c2_by_hand(change: Mapping[str, float], why: str) -> None:
    others = {name: made(2.0 * r, missing=4) for name, r in {**WORSE, **change}.items()}
    found, reason = verdict(twin_mobility_rounds.superior(made(2.0), others))
    assert found == ("fail" if why else "pass")
    assert why in reason


def test_schemes_on_a_few_rounds() -> None:
    """The two-layer algorithm is between its bound and what lacks an ingredient."""
    rivals, ages = twin_mobility_rounds.RIVALS, twin_mobility_rounds.AGES_ZERO
    own = solved(rows=3, **ages)
    assert own.is_feasible.all()
    assert (twin_mobility_rounds.bound(3) <= own.gamma * (1.0 + 1e-4)).all()
    slow, raw, greedy = (
        solved(rivals[name].free, rivals[name].outer, rows=3, **ages)
        for name in ("speed 5 m/s", "no compression", "proposal only")
    )
    assert slow.speed_mps == pytest.approx(5.0)
    assert raw.ratio == pytest.approx(1.0)
    assert penalty(slow, own).value > 1.4
    assert penalty(raw, own).value > 1.1
    assert penalty(greedy, own).value > 1.0 - 1e-4


@pytest.mark.slow
def test_the_rivals_are_those_of_the_rule() -> None:
    assert list(twin_mobility_rounds.rivals(2)) == list(WORSE)


# ------------------------------------------------------------------- C3, C4: bandwidth and energy


def swept(start: float, end: float, points: int, **kwargs: Any) -> list[Solved]:
    """Deviations that go evenly on a scale of logarithms."""
    return [made(float(g), **kwargs) for g in np.geomspace(start, end, points)]


def test_c3_by_hand() -> None:
    ratios = np.linspace(0.13, 0.32, 7)
    free = [made(s.gamma[-1] / LUCK[-1], ratio=r) for s, r in zip(
        swept(2.2, 1.5, 7), ratios, strict=True)]  # fmt: skip
    raw = swept(2.2 * 1.8, 1.5 * 1.2, 7, missing=2)
    assert verdict(twin_mobility_sweeps.substituting(Compressing(free, raw)))[0] == "pass"
    even = [made(1.2 * s.gamma[-1] / LUCK[-1]) for s in free]
    for both, why in (
        (Compressing(free, even), "log penalty"),
        (Compressing([s._replace(ratio=0.2 * LUCK) for s in free], raw), "compression ratio"),
        (Compressing(free[::-1], raw), "largest deviation: medians"),
        (Compressing(free, [made(3.0, missing=32)] * 7), "no common rows"),
    ):
        assert why in verdict(twin_mobility_sweeps.substituting(both))[1]


def fitting() -> Speeds:
    """Adaptive solves all; the fastest misses some, the cheapest is slow."""
    free = [
        made(float(g), speed=v)
        for g, v in zip(np.geomspace(3.1, 1.5, 6), (13, 14, 16, 18, 19, 20), strict=True)
    ]
    fastest = [made(2.0, missing=m) for m in (30, 22, 14, 8, 2, 0)]
    return Speeds(free, fastest, [made(1.5 * s.gamma[-1] / LUCK[-1]) for s in free])


def test_c4_by_hand() -> None:
    every = fitting()
    assert verdict(twin_mobility_sweeps.adapting(every))[0] == "pass"
    assert verdict(twin_mobility_sweeps.always_solved(every))[0] == "pass"
    stuck = [s._replace(speed_mps=18.0 * LUCK) for s in every.free]
    for change, why in (
        ({"free": stuck}, "speed: from 80.0 to 100.0"),
        ({"free": every.free[::-1]}, "largest deviation"),
        ({"fastest": every.free}, "20 m/s solves 0 [0, 0] fewer"),
        ({"cheapest": every.free}, "5 m/s over adaptive is 1"),
        ({"free": [made(s.gamma[-1], missing=1) for s in every.free]}, "adaptive misses 1 that"),
    ):
        assert why in verdict(twin_mobility_sweeps.adapting(every._replace(**change)))[1]


def test_c4b_counts_rounds_that_nobody_solves() -> None:
    every = fitting()
    cut = [made(2.0, missing=3)] * 6
    reason = verdict(twin_mobility_sweeps.always_solved(every._replace(free=cut)))[1]
    assert reason == "; ".join(f"{e} J: adaptive misses 3" for e in (100, 120, 160))
    assert twin_mobility_sweeps.beyond_reach(20.0, 4) == 4
    assert twin_mobility_sweeps.beyond_reach(300.0, 4) == 0


# ----------------------------------------------------------------------------------- C5: fidelity


def test_c5_by_hand() -> None:
    seen = np.linspace(0.8, 0.3, 5)[:, None] * np.ones(6)
    free = Slack(seen, np.zeros_like(seen))
    judge = twin_mobility_fidelity.looking_longer
    assert verdict(judge(swept(1.5, 2.0, 4), free))[0] == "pass"
    assert "largest deviation" in verdict(judge(swept(2.0, 1.5, 4), free))[1]
    closer = seen.copy()
    closer[3, 2] = 0.9
    assert (
        "rises with its drift"
        in verdict(judge(swept(1.5, 2.0, 4), free._replace(fidelity=closer)))[1]
    )
    off = free._replace(off=np.full_like(seen, 1e-3))
    assert "from the interior formula" in verdict(judge(swept(1.5, 2.0, 4), off))[1]


def test_growth_around_times_by_hand() -> None:
    """Information .5, .9, 1.1 at 1, 2, 3 s; something begins at 3 s that tells .4 there."""
    time = torch.arange(1, 5, dtype=torch.float64)
    now = torch.tensor([0.5, 0.9, 1.5, 1.6], dtype=torch.float64)
    early = torch.tensor([0.0, 0.9, 1.1, 1.6], dtype=torch.float64)
    sums = torch.stack([now, early]).expand(4, 2, 4)
    when = torch.tensor([1.5, 2.0, 3.0, 3.5], dtype=torch.float64)
    after, before = twin_mobility_fidelity.growth_around(sums, when, time)
    assert after.tolist() == pytest.approx([0.4, 0.2, 0.1, 0.1])
    assert before.tolist() == pytest.approx([0.4, 0.4, float("inf"), 0.1])


def test_fidelities_without_a_requirement_follow_the_formula() -> None:
    found = twin_mobility_fidelity.slack(4)
    assert found.fidelity.shape[0] == 5
    assert np.diff(found.fidelity, axis=0).max() <= 0.0
    assert found.off.max() < 1e-9


# ---------------------------------------------------------------------- C6, C7: all assignments


def test_c6_wants_no_round_worse() -> None:
    gamma = np.array([[2.0, 1800.0], [1.5, 2.0], [1.5, 2.0]])
    assert twin_mobility_exact.never_worse(gamma).holds
    assert not twin_mobility_exact.never_worse(gamma[::-1]).holds
    found = twin_mobility_exact.exact_by_size(3, (4, 5))
    assert found.shape == (2, 3)
    assert twin_mobility_exact.never_worse(found).holds


def test_c7_by_hand() -> None:
    judge = twin_mobility_exact.near_optimal
    assert verdict(judge(np.array([0.0] * 9 + [0.2])))[0] == "pass"
    assert "70% exact" in verdict(judge(np.array([0.0] * 7 + [0.01] * 3)))[1]
    assert "mean gap 4.00%" in verdict(judge(np.array([0.0] * 9 + [0.4])))[1]
    assert "mean gap" in verdict(judge(np.array([0.0] * 9 + [999.0])))[1]  # left unsolved


def test_matchings_of_small_rounds() -> None:
    found = twin_mobility_exact.gaps(4, 2, 8)
    assert list(found) == ["matching", "one start", "proposal"]
    for gap in found.values():
        assert gap.min() >= -1e-12
    assert (found["matching"] <= found["one start"] + 1e-12).all()
    assert (found["one start"] <= found["proposal"] + 1e-12).all()


# ---------------------------------------------------------------------------------- C8: missions

ENERGY = {"hmap": 16.0, "greedy": 17.0, "distance_based": 20.0, "random_topology": 19.0}


def topologies(**change: float) -> Told:
    return Told(lambda one, score: 1.0 if score else {**ENERGY, **change}[one.policy])


def test_c8_by_hand() -> None:
    found = judged("C8", topologies())
    assert found.verdict == "pass"
    assert "distance_based, random_topology 0.2 [0.2, 0.2]; 0.1579" in found.measured
    assert judged("C8", topologies(greedy=15.0)).verdict == "pass"  # told, not judged
    assert "over distance_based" in judged("C8", topologies(distance_based=15.9)).reason


def test_c8b_wants_a_rise_in_both_presets() -> None:
    def energy(one: Play, score: str | None, drop: str = "") -> float:
        params = dict(one.params)
        n = params["num_agents"]
        return 1.0 if params["preset"] == drop and n == 12 else float(n)

    assert judged("C8b", Told(energy)).verdict == "pass"
    reason = judged("C8b", Told(lambda one, score: energy(one, score, "default"))).reason
    assert "from 10 to 12" in reason


@pytest.mark.parametrize(
    ("values", "result"),
    [
        ([1.0, 0.9, 0.8, 0.9, 1.0, 1.1], "pass"),
        ([1.0, 1.0, 1.0, 1.0, 1.1, 1.1], "pass"),
        ([1.0, 0.9, 0.8, 0.8, 0.8, 0.8], "fail"),
        ([1.0, 0.8, 0.9, 0.7, 0.8, 0.9], "fail"),
    ],
)
def test_c8c_wants_a_rebound(values: list[float], result: str) -> None:
    by_weight = dict(zip(twin_mobility_aggregation.WEIGHTS, values, strict=True))
    told = Told(lambda one, score: by_weight[dict(one.params)["potential_weight"]])
    assert judged("C8c", told).verdict == result


def test_c8d_wants_missed_deadlines() -> None:
    def value(one: Play, score: str | None) -> float:
        raw = one.policy == "no_semantic"
        return float(raw) * 9.0 if score == "failures" else 1.0 - 0.9 * raw

    assert judged("C8d", Told(value)).verdict == "pass"
    assert judged("C8d", Told(lambda one, score: 1.0)).verdict == "fail"


# -------------------------------------------------------------------------------- C9: learning

J_MAX = {
    "mappo": 2.5,
    "coordinated_maxdev": 3.4,
    "static_partition": 2.8,
    "static_tuned": 2.6,
    "hierarchical": 2.1,
}


def playing(seeds: int = 5, **change: float) -> Told:
    return Told(lambda one, score: {**J_MAX, **change}[one.policy], seeds)


@pytest.mark.parametrize(
    ("change", "coordinated", "static"),
    [
        ({}, "", ""),
        ({"mappo": 3.0}, "", "less static_partition: 0.1976"),
        ({"mappo": 3.39}, "overlap", "less static_partition"),
        ({"hierarchical": 1.0}, "", ""),  # told, not judged
    ],
)
def test_c9_by_hand(change: dict[str, float], coordinated: str, static: str) -> None:
    for id, why in (("C9", coordinated), ("C9b", static)):
        found = judged(id, playing(**change))
        assert found.verdict == ("fail" if why else "pass")
        assert why in found.reason
        assert "mappo less coordinated_maxdev" in found.measured


def test_c9_wants_five_training_seeds() -> None:
    assert judged("C9", playing(4)).reason == "mappo: only 4 training seeds"


def test_learning_curves_are_drawn_beside_what_rules_reach() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    judged("C9", playing()).draw(axes)
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names[1:] == ["mappo, evaluation", *list(J_MAX)[1:]]
    plt.close(figure)


# ------------------------------------------------------------------------------- at full size


@pytest.mark.slow
@pytest.mark.parametrize("id", NAMES[:8])
def test_claims_about_rounds(id: str) -> None:
    """C4b fails: at 100 and 120 J a region of some rounds is beyond everybody's reach."""
    found = judged(id)
    assert found.verdict == ("fail" if id == "C4b" else "pass")
    if id == "C4b":
        assert "160 J" not in found.reason
        assert "the bound proves 8, 5, 0" in found.measured


@pytest.mark.slow
def test_claims_about_plays(tmp_path) -> None:
    from sixgym.leaderboard.claims.framework import run_claims

    rows = run_claims(IDS[0], tmp_path, only=[*NAMES[8:]], quiet=True)
    found = {row.id: row.verdict for row in rows}
    assert {id: found[id] for id in NAMES[8:13]} == dict.fromkeys(NAMES[8:13], "pass")
    assert found["C9b"] in {"pass", "fail"}
    assert all((tmp_path / f"{id.lower()}.png").is_file() for id in NAMES[8:])

"""Claims: the rules that judge them, the framework, and those that are exact."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sixgym.baselines.policy import load_baselines
from sixgym.envs.core import registry
from sixgym.envs.core.errors import UnknownIdError
from sixgym.leaderboard import run_claims
from sixgym.leaderboard.claims import ris_noma, ris_noma_exact
from sixgym.leaderboard.claims.framework import (
    Claim,
    Evidence,
    Outcome,
    Play,
    play,
    slot_seconds,
)
from sixgym.leaderboard.claims.rules import (
    at_least,
    does_not_decrease,
    falls,
    rises,
    verdict,
)
from sixgym.leaderboard.protocol import ScoreSpec, Task
from sixgym.leaderboard.runner import make_rows
from sixgym.leaderboard.stats import Interval
from sixgym.leaderboard.store import PolicyCard, Result, Run, Timing

SELECT = "sixgym/RisNomaSelect-v0"
HYBRID = "sixgym/RisNoma-v0"


def result(values: Any) -> Result:
    """A result whose episodes have these scores."""
    values = [float(v) for v in values]
    task = Task(
        env_id="toy/Thing-v0",
        params_hash="0" * 16,
        version=1,
        horizon=1,
        first_seed=0,
        episodes=len(values),
        scores=[
            ScoreSpec(
                name="score",
                unit="1",
                numerator="reward",
                denominator="episodes",
                higher_is_better=True,
            )
        ],
        random="random",
        reference=None,
    )
    card = PolicyCard(
        name="x",
        source="baseline",
        kind="heuristic",
        sees="observation",
        description="",
        env_id=task.env_id,
    )
    timing = Timing(
        rows=2, decision_median_s=1e-3, decision_p99_s=1e-3, step_median_s=3e-3, slot_mean_s=4e-3
    )
    run = Run(reward=values, length=[1] * len(values), sums={}, timing=timing)
    return Result(task=task, policy=card, runs=[run])


def evidence(*columns: Any) -> tuple[Evidence, list[Play]]:
    plays = [play(f"p{i}", "toy/Thing-v0") for i in range(len(columns))]
    return Evidence({p: result(c) for p, c in zip(plays, columns, strict=True)}), plays


WORLD = np.random.default_rng(0).gamma(20.0, 1.0, 64)
NOISE = np.random.default_rng(1).normal(0.0, 0.3, (3, 64))


def test_a_small_rise_on_common_worlds_is_a_rise() -> None:
    seen, plays = evidence(WORLD, WORLD * 1.01, WORLD * 1.02)
    assert rises(seen, plays, "abc").holds
    assert not falls(seen, plays, "abc").holds
    assert falls(seen, plays[::-1], "abc").holds


def test_a_dip_is_no_rise_and_is_named() -> None:
    seen, plays = evidence(WORLD, WORLD * 1.05, WORLD * 1.04)
    found = rises(seen, plays, ["W=1", "W=2", "W=4"])
    assert not found.holds
    assert "from W=2 to W=4" in found.why_not
    assert not does_not_decrease(seen, plays, "abc").holds


def test_noise_alone_is_neither_a_rise_nor_a_decrease() -> None:
    columns = [WORLD + noise - noise.mean() for noise in NOISE]
    columns[1] *= 1.0001
    columns[2] *= 1.0002
    seen, plays = evidence(*columns)
    assert "from end to end" in rises(seen, plays, "abc").why_not
    assert does_not_decrease(seen, plays, "abc").holds
    assert does_not_decrease(seen, plays[::-1], "abc").holds


def test_thresholds_and_verdicts() -> None:
    assert at_least("it", Interval(1.3, 1.2, 1.4), 1.3).holds
    missed = at_least("it", Interval(1.29, 1.2, 1.4), 1.3)
    assert verdict([at_least("it", Interval(2.0, 1.9, 2.1), 1.3), missed]) == (
        "fail",
        "it is 1.290, not 1.3",
    )
    assert verdict([]) == ("pass", "")


def test_slot_time_is_of_one_row() -> None:
    assert slot_seconds(result(WORLD)) == pytest.approx(2e-3)


def test_a_pace_compares_the_fastest_of_rounds_timed_in_turn() -> None:
    """The machine slows down threefold in the middle of a round: the value does not notice."""
    one, other = play("a", SELECT), play("b", SELECT)
    asked: list[Play] = []

    def again(which: Play, rows: int) -> Result:
        assert rows == 8
        asked.append(which)
        found = result([1.0])
        speed = (1.0 if which is one else 2.0) * (1.0 if len(asked) < 4 else 3.0)
        timing = Timing(
            rows=1,
            decision_median_s=speed,
            decision_p99_s=speed,
            step_median_s=0.0,
            slot_mean_s=speed,
        )
        run = found.runs[0].model_copy(update={"timing": timing})
        return found.model_copy(update={"runs": [run]})

    (found,) = Evidence({}, again).paces(one, [other], 8)
    assert found == pytest.approx((0.5, 0.5 / 3.0, 0.5))
    assert asked == [one, other] * 7


def _toy_claims() -> types.ModuleType:
    module = types.ModuleType("toy_claims_module")
    turns, ao = play("round_robin", SELECT), play("ao1", HYBRID)
    missing = play("a_trained_one", SELECT, needs_weights=True)

    def compare(seen: Evidence) -> Outcome:
        ratio = seen.ratio(ao, turns)
        found, why = verdict([at_least("ao1 over round_robin", ratio, 1e9)])
        return Outcome(found, str(ratio), why, draw=lambda axes: axes.plot([0, 1], [0, 1]))

    module.CLAIMS = (  # type: ignore[attr-defined]
        Claim("C1", "[derived]", "Impossible.", ">= 1e9", (turns, ao), compare),
        Claim("C2", "[paper]", "Learned.", ">= 1", (missing,), compare),
        Claim("C3", "[derived]", "Exact.", "yes", (), lambda seen: Outcome("pass", "yes")),
    )
    return module


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    module = _toy_claims()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    found = registry.entry(SELECT)
    changed = type(found)(**{**found.__dict__, "claims": module.__name__})
    monkeypatch.setitem(registry._ENTRIES, SELECT, changed)
    return SELECT


def test_failed_and_missing_claims_stay_in_the_table(
    toy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = run_claims(toy, tmp_path, episodes=2, jobs=1)
    assert [row.verdict for row in rows] == ["fail", "not measured", "pass"]
    assert rows[0].reason.startswith("ao1 over round_robin is ")
    assert rows[1].reason == (
        "not measured: no shipped weights of a_trained_one for sixgym/RisNomaSelect-v0"
    )
    assert (tmp_path / "c1.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads((tmp_path / "claims.json").read_text())
    assert [claim["verdict"] for claim in content["claims"]] == ["fail", "not measured", "pass"]
    assert {one["policy"] for one in content["plays"]} == {"ao1", "round_robin"}
    printed = capsys.readouterr().out
    assert "C1 [derived] Impossible." in " ".join(printed.split())
    assert "1 pass, 1 fail, 1 not measured" in printed


def test_single_claims_can_be_asked_for(toy: str, tmp_path: Path) -> None:
    rows = run_claims(toy, tmp_path, only=["c3"], jobs=1, quiet=True)
    assert [row.id for row in rows] == ["C3"]
    with pytest.raises(UnknownIdError, match=r"claim='C9': unknown; claims of .*: c1, c2, c3"):
        run_claims(toy, tmp_path, only=["C9"], quiet=True)


def test_both_ids_have_the_thirteen_claims_of_the_dossier() -> None:
    for id in (HYBRID, SELECT):
        assert registry.entry(id).claims == ris_noma.__name__
    assert [claim.id for claim in ris_noma.CLAIMS] == [f"C{i}" for i in range(1, 14)]
    assert all(claim.mark.startswith("[") for claim in ris_noma.CLAIMS)


def test_every_play_of_a_claim_can_be_made() -> None:
    """Names exist and parameters are in range; trained policies may be absent."""
    for one in {one for claim in ris_noma.CLAIMS for one in claim.plays}:
        make_rows(one.env_id, 1, dict(one.params))
        if not one.needs_weights:
            assert one.policy in {**load_baselines(one.env_id), **ris_noma.PLAYERS}


@pytest.mark.parametrize("claim", [ris_noma_exact.C9, ris_noma_exact.C12], ids=lambda c: c.id)
def test_exact_claims_hold(claim: Claim) -> None:
    outcome = claim.judge(Evidence({}))
    assert outcome.verdict == "pass", outcome.reason


def test_optimal_factors_are_those_of_the_dossier() -> None:
    """T9: (x, g) -> rho*; K=1, no surface."""
    import torch

    cases = [(2e4, 1e-10, 0.2), (2e4, 1e-9, 0.382547), (2e4, 1e-8, 0.598715)]
    cases += [(4e4, 1e-9, 0.406613), (6e4, 1e-9, 0.387189)]
    volume, gain, rho = (
        torch.tensor(column, dtype=torch.float64) for column in zip(*cases, strict=True)
    )
    assert torch.allclose(ris_noma_exact.optimal_factors(volume, gain), rho, atol=1e-6)


def test_mean_powers_are_those_of_the_dossier() -> None:
    """T13: K=4, y = ln 2 each, g=(8,4,2,1)e-9, noise 1e-11: 0.04, 0.0703125, 0.10625 W."""
    import torch

    gain = torch.tensor([[8.0, 4.0, 2.0, 1.0]], dtype=torch.float64) * 1e-9 / 1e-11
    nats = torch.full_like(gain, np.log(2.0))
    powers = torch.cat(ris_noma_exact.mean_powers(gain, nats))
    expected = torch.tensor([0.04, 0.0703125, 0.10625], dtype=torch.float64)
    assert torch.allclose(powers, expected, rtol=1e-12)


@pytest.mark.slow
def test_the_claims_that_need_no_training_hold(tmp_path: Path) -> None:
    learned = {c.id for c in ris_noma.CLAIMS if any(one.needs_weights for one in c.plays)}
    assert learned == {"C2", "C3", "C4"}
    others = [claim.id for claim in ris_noma.CLAIMS if claim.id not in learned]
    rows = run_claims(HYBRID, tmp_path, only=others, episodes=48, quiet=True)
    assert {row.id: row.verdict for row in rows} == dict.fromkeys(others, "pass")

"""The dual-threshold rule against a plain loop, its limits, its closed forms, its monotonicity."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sixgym.envs.event_offload.rule import run_rule

RULES: tuple[Any, ...] = ("head", "mid", "tail", 0.4)


def pair(low: float, high: float) -> tuple[Tensor, Tensor]:
    return torch.tensor(low), torch.tensor(high)


def one_event(conf: list[float], low: float, high: float, rule: Any) -> tuple[int, bool, bool]:
    """The rule as it is written, for one event in float32."""
    for n, score in enumerate(conf):
        if score < low:
            return n, False, False
        if score > high:
            return n, True, False
    middle = np.float32((np.float32(low) + np.float32(high)) / np.float32(2))
    final = {"head": 2.0, "tail": -1.0, "mid": float(middle)}
    threshold = final[rule] if isinstance(rule, str) else np.float32(rule)
    return len(conf) - 1, bool(conf[-1] > threshold), True


@given(
    st.lists(st.integers(1, 19), min_size=1, max_size=5),
    st.integers(0, 20),
    st.integers(0, 20),
    st.sampled_from(RULES),
)
def test_equals_a_plain_loop_also_on_ties(
    scores: list[int], first: int, second: int, rule: Any
) -> None:
    conf = (np.array(scores) / 20).astype(np.float32)
    low, high = (np.float32(b / 20) for b in sorted([first, second]))
    got = run_rule(torch.from_numpy(conf), *pair(float(low), float(high)), rule)
    expected = one_event(conf.tolist(), float(low), float(high), rule)
    assert (int(got.exit), bool(got.declared_tail), bool(got.undecided)) == expected


@pytest.fixture
def conf() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((300, 4), generator=generator).clamp(1e-6, 1 - 1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_corner_pairs_leave_at_the_first_exit(conf: Tensor, rule: Any) -> None:
    """(0,0): everything is sent at exit 1; (1,1): nothing is, also at exit 1."""
    everything = run_rule(conf, *pair(0.0, 0.0), rule)
    nothing = run_rule(conf, *pair(1.0, 1.0), rule)
    assert everything.declared_tail.all()
    assert not nothing.declared_tail.any()
    assert (everything.exit == 0).all()
    assert (nothing.exit == 0).all()


def test_open_thresholds_leave_all_to_the_final_rule(conf: Tensor) -> None:
    """(0,1): MAC = c_N; P_off = 0 under head, 1 under tail."""
    for rule, share in (("head", 0.0), ("tail", 1.0)):
        verdict = run_rule(conf, *pair(0.0, 1.0), rule)  # type: ignore[arg-type]
        assert (verdict.exit == 3).all()
        assert verdict.undecided.all()
        assert float(verdict.declared_tail.float().mean()) == share


def quantiles(power: float, count: int) -> Tensor:
    """Beta(2,1) (power 1/2 of a uniform) at mid-quantiles."""
    return ((torch.arange(count, dtype=torch.float64) + 0.5) / count) ** power


@pytest.mark.parametrize(
    ("rule", "tail", "head"), [("head", 0.558, 0.058), ("mid", 0.743625, 0.131125)]
)
def test_two_independent_beta_exits(rule: Any, tail: float, head: float) -> None:
    """Check 5: P(declared tail) at (.3, .8); exit 2 is reached with .55 and .45."""
    grid = quantiles(0.5, 2000)
    events = torch.cartesian_prod(grid, grid)
    for scores, expected, reach in ((events, tail, 0.55), (1.0 - events, head, 0.45)):
        verdict = run_rule(scores, *pair(0.3, 0.8), rule)
        assert float(verdict.declared_tail.double().mean()) == pytest.approx(expected, abs=1e-3)
        assert float((verdict.exit == 1).double().mean()) == pytest.approx(reach, abs=1e-3)


@pytest.mark.parametrize("rule", RULES)
def test_declared_tails_shrink_when_a_threshold_rises(conf: Tensor, rule: Any) -> None:
    """Set inclusion; depth falls with the lower threshold and grows with the upper one."""
    grid = [i / 8 for i in range(9)]
    got = {
        p: run_rule(conf, *pair(*p), rule) for p in itertools.combinations_with_replacement(grid, 2)
    }
    for (low, high), verdict in got.items():
        if (low + 0.125, high) in got:
            other = got[low + 0.125, high]
            assert (other.declared_tail <= verdict.declared_tail).all()
            assert (other.exit <= verdict.exit).all()
        if (low, high + 0.125) in got:
            other = got[low, high + 0.125]
            assert (other.declared_tail <= verdict.declared_tail).all()
            assert (other.exit >= verdict.exit).all()


def test_thresholds_differ_from_row_to_row(conf: Tensor) -> None:
    low, high = torch.tensor([0.1, 0.6])[:, None], torch.tensor([0.9, 0.7])[:, None]
    both = run_rule(conf.expand(2, -1, -1), low, high, "mid")
    for i in range(2):
        alone = run_rule(conf, low[i], high[i], "mid")
        assert torch.equal(both.exit[i], alone.exit)
        assert torch.equal(both.declared_tail[i], alone.declared_tail)

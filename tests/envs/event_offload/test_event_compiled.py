"""The compiled step equals the eager one in every mode (the kit compiles the default only)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from event_cases import batch

ROWS = 48


@pytest.mark.slow
@pytest.mark.parametrize(
    "params",
    [
        {"preset": "bursty_battery", "reward": "utility"},
        {"preset": "bursty", "expected": True, "budget_mode": "slot"},
        {"action_mode": "pairs", "budget_mode": "slot", "final_rule": 0.4},
        {"preset": "confident_local", "fading_correlation": 0.9, "info_level": 1},
        {"payload": "per_exit", "budget_mode": "battery", "final_rule": "mid"},
    ],
)
def test_compiled_and_eager_agree(params: dict[str, Any]) -> None:
    torch.compiler.reset()
    eager, fused = (batch(ROWS, compile=c, **params) for c in (False, True))
    first, second = (env.reset(seed=7)[0] for env in (eager, fused))
    assert np.array_equal(first, second)
    eager.action_space.seed(0)
    for _ in range(12):
        action = eager.action_space.sample()
        a, b = eager.step(action), fused.step(action)
        for x, y in zip(a[:4], b[:4], strict=True):
            assert np.allclose(x, y, rtol=1e-4, atol=1e-4)
        for name, value in a[4].items():
            assert np.allclose(value, b[4][name], rtol=1e-4, atol=1e-3), name

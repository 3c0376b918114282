"""Parameters of the event-offloading systems: presets, ranges, what does not go together."""

from __future__ import annotations

from typing import Any

import pytest

from sixgym.envs.core.errors import ParamsError
from sixgym.envs.event_offload.params import EventOffloadParams


@pytest.mark.parametrize("preset", list(EventOffloadParams.presets))
def test_every_preset_is_valid(preset: str) -> None:
    assert EventOffloadParams.create(preset).num_events == 20


def test_the_bursty_chain() -> None:
    """P(burst) = 1/3 and a stationary prevalence of 0.1133 (section 1.1)."""
    params = EventOffloadParams.create("bursty")
    assert params.burst_share == pytest.approx(1 / 3)
    assert params.stationary_prevalence == pytest.approx(0.1133, abs=5e-5)
    assert EventOffloadParams.create().stationary_prevalence == 0.1


@pytest.mark.parametrize("rule", ["head", "mid", "tail", 0, 1, 0.25])
def test_final_rules(rule: Any) -> None:
    assert EventOffloadParams.create(final_rule=rule).final_rule == rule


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"final_rule": "middle"},
            "^final_rule='middle': .*allowed: 'head', 'mid', 'tail' or float$",
        ),
        ({"final_rule": 1.5}, "final_rule=1.5"),
        ({"final_rule": True}, "final_rule=True"),
        ({"prevalence": 0.0}, "prevalence=0.0: .*>= 0.0001"),
        ({"num_events": 0}, "num_events=0"),
        ({"mean_snr_db": float("inf")}, "mean_snr_db=inf"),
        ({"calm_prevalence": 0.5}, "burst_prevalence=0.3: allowed: >= calm_prevalence"),
        ({"payload": "per_exit"}, "payload='per_exit': .*budget_mode"),
        (
            {"payload": "per_exit", "mac_profile": "trace", "budget_mode": "average"},
            "payload='per_exit': needs feature maps",
        ),
        ({"beta": 1}, "beta=1: no such parameter"),
    ],
)
def test_what_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ParamsError, match=words):
        EventOffloadParams.create(**values)


def test_the_table_has_unit_source_and_range() -> None:
    rows = {row.name: row for row in EventOffloadParams.table()}
    assert rows["prevalence"].source == "notes"
    assert rows["deadline_s"].unit == "s"
    assert rows["final_rule"].allowed == "'head', 'mid', 'tail' or float"
    assert all(row.source and row.description for row in rows.values())

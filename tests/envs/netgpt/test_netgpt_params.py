"""Parameters: presets, marks, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from sixgym.envs.core.errors import ParamsError
from sixgym.envs.netgpt.params import (
    NetGptBatchParams,
    NetGptRouteParams,
    NetGptThresholdParams,
)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"num_requests": 40}, ("num_requests", "max_requests")),
        ({"prompt_tokens_min": 9000.0}, ("prompt_tokens_min", "prompt_tokens_max")),
        ({"tou_peak": 300}, ("tou_peak", "tou_period")),
        ({"regime_bandwidth_mbps": (1.0, 1.0, 1.0, 0.0)}, ("regime_bandwidth_mbps", "0.01")),
        ({"regime_rtt_s": (1.0, 1.0, 1.0, 11.0)}, ("regime_rtt_s", "10")),
        ({"regime_start": (0.5, 0.5, 0.5, -0.5)}, ("regime_start", "sum to 1")),
        ({"regime_transition": ((1.0, 0.0, 0.0, 0.0),)}, ("regime_transition", "4")),
        (
            {"regime_transition": ((0.9, 0.0, 0.0, 0.0),) * 4},
            ("regime_transition", "sum to 1"),
        ),
        ({"network": "frozen:Y"}, ("network", "frozen:X")),
        ({"trace": "a.csv"}, ("network", "'trace'")),
        ({"network": "trace"}, ("trace", "trace_rtt_s")),
        (
            {"network": "trace", "trace": "a.csv", "trace_rtt_s": (0.1,)},
            ("trace=PATH", "trace_bandwidth_mbps"),
        ),
        ({"reward_mode": "vectors"}, ("reward_mode", "'vector'")),
        ({"score_noise": -0.1}, ("score_noise", ">= 0.0")),
        ({"schema_edge": float("nan")}, ("schema_edge",)),
        ({"learn_scal": 300.0}, ("learn_scal", "did you mean learn_scale")),
        ({"trace_rtt_s": (float("nan"),), "network": "trace"}, ("trace_rtt_s",)),
    ],
)
def test_wrong_parameters_are_refused_by_name(
    values: dict[str, Any], names: tuple[str, ...]
) -> None:
    with pytest.raises(ParamsError) as error:
        NetGptThresholdParams.create(**values)
    message = str(error.value)
    assert "\n" not in message
    assert all(name in message for name in names), message


@pytest.mark.parametrize("values", [{"share_uplink": True}, {"arrivals": "poisson"}])
def test_what_needs_the_whole_slot_is_refused_one_request_a_time(values: dict[str, Any]) -> None:
    with pytest.raises(ParamsError, match=next(iter(values))):
        NetGptRouteParams.create(**values)


def test_the_uplink_is_shared_by_default_in_the_batch_system_only() -> None:
    assert NetGptBatchParams.create().share_uplink
    assert not NetGptThresholdParams.create().share_uplink


def test_noise_of_the_score_is_that_of_the_mode() -> None:
    create = NetGptThresholdParams.create
    assert create().sigma_s == 0.75
    assert create(mode="pre").sigma_s == 1.5
    assert create(mode="pre", score_noise=0.1).sigma_s == 0.1
    assert create(score_model="difficulty").sigma_s == 0.0
    assert not create(mode="pre").has_gate
    assert not create(score_model="difficulty").has_gate


def test_no_default_number_is_called_the_papers() -> None:
    """The paper's body was not read: [paper] marks what is done, never how much."""
    for row in NetGptThresholdParams.table():
        is_number = isinstance(row.default, float | int) and not isinstance(row.default, bool)
        assert not (row.source == "paper" and is_number), row.name
        assert row.unit or not is_number, row.name
        assert row.description.endswith("."), row.name

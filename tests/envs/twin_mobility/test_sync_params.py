"""Parameters: presets, refusals, the table."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import strategies as st
from sync_cases import (
    ID,
)

import sixgym
from sixgym.envs.core.errors import ParamsError, UnknownIdError
from sixgym.envs.twin_mobility.params import TwinSyncParams

sixgym  # noqa: B018  (registers the ids)
seeds = st.integers(0, 2**31 - 1)


@pytest.mark.parametrize("preset", sorted(TwinSyncParams.presets))
def test_every_preset_plays(preset: str) -> None:
    env = gym.make_vec(ID, 2, preset=preset)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(5):
        told = env.step(env.action_space.sample())
        assert np.isfinite(told[0]).all()
        assert np.isfinite(told[1]).all()


def test_presets_set_what_they_are_named_for() -> None:
    made = {name: TwinSyncParams.create(name) for name in TwinSyncParams.presets}
    assert (made["small"].num_agents, made["small"].num_regions) == (3, 2)
    assert (made["large"].num_agents, made["large"].num_regions) == (16, 8)
    strict = made["paper_strict"]
    assert strict.compression_loss == 0.0
    assert (strict.raw_mode, strict.fixed_cpu, strict.equal_weight) == ("fixed", True, True)
    assert (made["wan_channel"].path_loss_exponent, made["wan_channel"].power_max_w) == (3.0, 1.0)
    assert made["tight_energy"].cycle_energy_j == 100.0
    assert (made["narrowband"].bandwidth_hz, made["wideband"].bandwidth_hz) == (1e6, 16e6)
    uav = made["uav"]
    assert (uav.cycle_energy_j, uav.battery_j, uav.speed_max_mps) == (8e3, 120e3, 30.0)
    assert (made["power_active"].power_max_w, made["power_active"].pa_efficiency) == (1.0, 0.2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_agents": 0}, "num_agents=0: .*>= 1"),
        ({"num_agents": 65}, "num_agents=65: .*<= 64"),
        ({"num_regions": 17}, "num_regions=17"),
        ({"platform": "boat"}, "platform='boat': .*'ugv', 'uav'"),
        ({"speed_min_mps": 0.0}, "speed_min_mps=0.0: .*> 0"),
        ({"speed_min_mps": 21.0}, "speed_min_mps=21.0: allowed: at most speed_max_mps"),
        ({"sensing_min_s": 30.0}, "sensing_min_s=30.0: allowed: at most sensing_max_s"),
        ({"power_min_w": 1.0}, "power_min_w=1.0: allowed: at most power_max_w"),
        ({"kappa_range": (0.6, 0.2)}, "kappa_range=.*a pair, low first"),
        ({"fidelity_range": (0.8, 1.0)}, "fidelity_range=.*from 0 to 0.9999"),
        ({"age_range_s": (-1.0, 1.0)}, "age_range_s=.*from 0"),
        ({"cpu_max_range_flops": (5e8, 6e9)}, "cpu_max_range_flops=.*from cpu_min_flops"),
        ({"compression_min": 0.0}, "compression_min=0.0"),
        ({"pa_efficiency": 0.0}, "pa_efficiency=0.0"),
        ({"bandwidth_hz": float("nan")}, "bandwidth_hz=nan"),
        ({"action_mode": "box"}, "action_mode='box': .*'flat', 'hybrid', 'discrete'"),
        ({"reward_mode": "own"}, "reward_mode='own'"),
        ({"buffer_packets": 0}, "buffer_packets=0"),
        ({"twin_mode": "sampled", "deviation": "ou"}, "twin_mode='sampled': allowed with"),
        ({"num_agent": 3}, "num_agent=3: no such parameter; did you mean num_agents"),
    ],
)
def test_wrong_parameters_are_refused_by_name(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ParamsError, match=words):
        TwinSyncParams.create(**values)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UnknownIdError, match="preset='huge'"):
        TwinSyncParams.create("huge")


def test_every_parameter_has_unit_range_source_and_words() -> None:
    for row in TwinSyncParams.table():
        assert row.source in ("paper", "notes", "related", "standard", "ours")
        assert row.description.endswith((".", "]"))
        assert row.allowed

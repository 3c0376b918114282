"""TR 38.901 path loss and line-of-sight probability against Sionna 2.

Sionna (package ``sionna-no-rt``) is an independent implementation by other authors; its UMi, UMa
and indoor-office scenarios (mixed and open) are compared at 400 random users each, in float64.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sixgym.envs.backend import pathloss

pytest.importorskip("sionna", reason="Sionna is not installed (extra dev)")

from sionna.phy.channel.tr38901 import (
    InHScenario,
    PanelArray,
    UMaScenario,
    UMiScenario,
)

F64 = torch.float64
USERS = 400
CARRIERS_HZ = (0.7e9, 3.5e9, 28e9, 95e9)


def panel(carrier_hz: float) -> PanelArray:
    return PanelArray(
        num_rows_per_panel=1,
        num_cols_per_panel=1,
        polarization="single",
        polarization_type="V",
        antenna_pattern="omni",
        carrier_frequency=carrier_hz,
        precision="double",
    )


def users(farthest_m: float, heights_m: tuple[float, float]) -> Tensor:
    """(1, users, 3) positions around the base station at the origin, radii spread evenly in log."""
    generator = torch.Generator().manual_seed(38901)
    draw = torch.rand(3, USERS, generator=generator, dtype=F64)
    radius = farthest_m ** draw[0]
    bearing = 2 * torch.pi * draw[1]
    height = heights_m[0] + (heights_m[1] - heights_m[0]) * draw[2]
    return torch.stack([radius * torch.cos(bearing), radius * torch.sin(bearing), height], -1)[None]


def place(scenario: object, where: Tensor, base_height_m: float, los: bool) -> None:
    assert isinstance(scenario, UMiScenario | UMaScenario | InHScenario)
    scenario.set_topology(
        ut_loc=where,
        bs_loc=torch.tensor([[[0.0, 0.0, base_height_m]]], dtype=F64),
        ut_orientations=torch.zeros(1, USERS, 3, dtype=F64),
        bs_orientations=torch.zeros(1, 1, 3, dtype=F64),
        ut_velocities=torch.zeros(1, USERS, 3, dtype=F64),
        in_state=torch.full((1, USERS), isinstance(scenario, InHScenario)),
        los=los,
    )


@pytest.mark.parametrize("carrier_hz", CARRIERS_HZ)
@pytest.mark.parametrize("los", [True, False])
def test_umi_equals_sionna(carrier_hz: float, los: bool) -> None:
    array = panel(carrier_hz)
    scenario = UMiScenario(carrier_hz, "low", array, array, "uplink", precision="double")
    where = users(5000.0, (1.5, 22.5))
    place(scenario, where, 10.0, los)
    ground, height = where[0, :, :2].norm(dim=-1), where[0, :, 2]
    law = pathloss.umi_los_loss_db if los else pathloss.umi_nlos_loss_db
    ours = law(ground, carrier_hz, height)
    torch.testing.assert_close(ours, scenario.basic_pathloss[0, 0], rtol=1e-10, atol=0)
    chance = pathloss.umi_los_probability(ground)
    torch.testing.assert_close(chance, scenario.los_probability[0, 0], rtol=1e-10, atol=0)


@pytest.mark.parametrize("carrier_hz", CARRIERS_HZ)
@pytest.mark.parametrize("los", [True, False])
def test_uma_equals_sionna(carrier_hz: float, los: bool) -> None:
    """Users below 13 m, where the standard fixes the environment height at 1 m, as we do."""
    array = panel(carrier_hz)
    scenario = UMaScenario(carrier_hz, "low", array, array, "uplink", precision="double")
    where = users(5000.0, (1.5, 12.9))
    place(scenario, where, 25.0, los)
    ground, height = where[0, :, :2].norm(dim=-1), where[0, :, 2]
    law = pathloss.uma_los_loss_db if los else pathloss.uma_nlos_loss_db
    ours = law(ground, carrier_hz, height)
    torch.testing.assert_close(ours, scenario.basic_pathloss[0, 0], rtol=1e-10, atol=0)


def test_uma_los_probability_of_tall_users_equals_sionna() -> None:
    array = panel(3.5e9)
    scenario = UMaScenario(3.5e9, "low", array, array, "uplink", precision="double")
    where = users(5000.0, (1.5, 22.5))
    place(scenario, where, 25.0, True)
    chance = pathloss.uma_los_probability(where[0, :, :2].norm(dim=-1), where[0, :, 2])
    torch.testing.assert_close(chance, scenario.los_probability[0, 0], rtol=1e-10, atol=0)


@pytest.mark.parametrize("carrier_hz", CARRIERS_HZ)
@pytest.mark.parametrize("office", ["mixed", "open"])
@pytest.mark.parametrize("los", [True, False])
def test_inh_equals_sionna(carrier_hz: float, office: str, los: bool) -> None:
    array = panel(carrier_hz)
    scenario = InHScenario(carrier_hz, office, array, array, "uplink", precision="double")
    where = users(150.0, (1.0, 1.0))
    place(scenario, where, 3.0, los)
    ground = where[0, :, :2].norm(dim=-1)
    slant = pathloss.distance_3d(ground, where[0, :, 2], 3.0)
    law = pathloss.inh_los_loss_db if los else pathloss.inh_nlos_loss_db
    ours = law(slant, carrier_hz)
    torch.testing.assert_close(ours, scenario.basic_pathloss[0, 0], rtol=1e-10, atol=0)
    chance = (
        pathloss.inh_mixed_los_probability(ground)
        if office == "mixed"
        else pathloss.inh_open_los_probability(ground)
    )
    torch.testing.assert_close(chance, scenario.los_probability[0, 0], rtol=1e-10, atol=0)


@pytest.mark.parametrize("kind", ["umi", "uma", "inh"])
def test_shadow_sigmas_equal_sionna(kind: str) -> None:
    array, carrier_hz = panel(3.5e9), 3.5e9
    scenario: UMiScenario | UMaScenario | InHScenario
    if kind == "inh":
        scenario = InHScenario(carrier_hz, "mixed", array, array, "uplink", precision="double")
    else:
        urban = UMiScenario if kind == "umi" else UMaScenario
        scenario = urban(carrier_hz, "low", array, array, "uplink", precision="double")
    ours = {
        "umi": pathloss.UMI_SHADOW_DB,
        "uma": pathloss.UMA_SHADOW_DB,
        "inh": pathloss.INH_SHADOW_DB,
    }[kind]
    for los, sigma in ((True, ours.los), (False, ours.nlos)):
        place(scenario, users(100.0, (1.5, 1.5)), 3.0 if kind == "inh" else 25.0, los)
        spread = scenario.get_param("sigmaSF")
        assert spread.flatten().unique().tolist() == pytest.approx([sigma])

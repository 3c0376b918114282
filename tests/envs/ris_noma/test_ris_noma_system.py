"""The RIS-NOMA systems end to end: the dossier's checks T17 to T20 and T22, and what must hold."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from ris_noma_cases import F64
from torch import Tensor

from sixgym.envs.core.errors import ParamsError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.rows import Outcome, Rows
from sixgym.envs.ris_noma.params import RisNomaParams
from sixgym.envs.ris_noma.solvers import ao_ops
from sixgym.envs.ris_noma.state import EXTRACTION, ORDER, SURFACE
from sixgym.envs.ris_noma.system import RisNoma, RisNomaSelect

FULL = "sixgym.envs.ris_noma:RisNoma"
SELECT = "sixgym.envs.ris_noma:RisNomaSelect"


def world(system: str, rows: int, *, first: int = 0, **options: Any) -> Rows[Any, Any]:
    """Started rows with seeds first, first + 1, ...; float64 unless told otherwise."""
    options.setdefault("dtype", "float64")
    made = Rows(make_system(system, **options), rows, max_episode_steps=100)
    made.start(seeds=torch.arange(first, first + rows))
    return made


def hybrid(rows: Rows[Any, Any], seed: int) -> Tensor:
    """Uniform actions of full control."""
    size = rows.system.action_space.shape[0]  # type: ignore[index]
    generator = torch.Generator().manual_seed(seed)
    action = torch.rand(rows.num_rows, size, generator=generator, dtype=F64) * 2.0 - 1.0
    return action.to(rows.system.dtype)


def metric(rows: Rows[Any, Any], out: Outcome, name: str) -> Tensor:
    return out.metrics[:, rows.metric_names.index(name)]


# ---------------------------------------------------------------------------- the dossier's checks


@pytest.mark.parametrize("mode", ["min_power", "fixed_power"])
def test_t17_all_data_is_accounted_for_under_much_dropping(mode: str) -> None:
    rows = world(FULL, 8, max_power_w=0.02, fixed_power_w=0.005, queue_limit_bits=5e3, tx_mode=mode)
    arrived = rows.state.backlog_bits.sum((1, 2))
    delivered, dropped = torch.zeros_like(arrived), torch.zeros_like(arrived)
    for step in range(100):
        out = rows.advance(hybrid(rows, step))
        arrived = arrived + metric(rows, out, "arrived_bits")
        delivered = delivered + metric(rows, out, "delivered_bits")
        dropped = dropped + metric(rows, out, "dropped_bits")
        held = rows.state.backlog_bits.sum((1, 2)) + rows.state.raw_bits.sum(1)
        torch.testing.assert_close(arrived, delivered + dropped + held, rtol=1e-12, atol=0)
    assert bool((dropped > 0.2 * arrived).all())


@pytest.mark.parametrize("weighted", [False, True])
def test_t18_mean_reward_is_the_dinkelbach_form(weighted: bool) -> None:
    rows = world(FULL, 6, quality_weighted=weighted)
    sums = dict.fromkeys(
        ["useful_bits", "energy_j", "dropped_bits", "energy_static_j"], torch.zeros(6, dtype=F64)
    )
    reward = torch.zeros(6, dtype=F64)
    for step in range(100):
        out = rows.advance(hybrid(rows, step))
        reward = reward + out.reward
        sums = {name: total + metric(rows, out, name) for name, total in sums.items()}
    assert bool(out.truncated.all())
    scale = 4 * 2e4 * 100
    efficiency = sums["useful_bits"] / sums["energy_j"]
    expected = sums["useful_bits"] / scale * (1 - 29e6 / efficiency) - sums["dropped_bits"] / scale
    torch.testing.assert_close(reward / 100, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(sums["energy_static_j"], torch.full_like(reward, 100 * 2e-4))


def scattered(rows: Rows[Any, Any]) -> Tensor:
    """(rows, 2, links) the scattered part of every link at unit power."""
    state = rows.state
    return (state.links - state.los) / state.scatter.unsqueeze(1)


def test_t19_fading_keeps_unit_variance_and_decorrelates_as_rho_to_the_n() -> None:
    rows = world(SELECT, 400, allow_noop=True, num_users=2, num_elements=16)
    idle = torch.full((400,), 3)
    first = scattered(rows)
    assert first.square().sum(1).mean().item() == pytest.approx(1.0, abs=0.02)
    for n in range(1, 21):
        rows.advance(idle)
        now = scattered(rows)
        # 400 rows of 66 links: standard error of the mean below 0.007.
        assert now.square().sum(1).mean().item() == pytest.approx(1.0, abs=0.03)
        assert (first * now).sum(1).mean().item() == pytest.approx(0.95**n, abs=0.03)


def test_t19_full_and_no_correlation() -> None:
    frozen = world(SELECT, 3, fading_correlation=1.0)
    before = frozen.state.links
    for _ in range(5):
        frozen.advance(torch.zeros(3, dtype=torch.int64))
    assert torch.equal(frozen.state.links, before)
    fresh = world(SELECT, 200, fading_correlation=0.0, allow_noop=True)
    first = scattered(fresh)
    fresh.advance(torch.full((200,), 3))
    now = scattered(fresh)
    assert now.square().sum(1).mean().item() == pytest.approx(1.0, abs=0.02)
    assert (first * now).sum(1).mean().item() == pytest.approx(0.0, abs=0.02)


def test_t19_links_have_the_gains_of_the_geometry() -> None:
    rows = world(FULL, 3000, num_users=1, num_elements=4, users_radius_m=0.0)
    direct, ris_ap, user_ris = rows.state.links.square().sum(1).split([1, 4, 4], -1)
    for power, gain_db in (
        (direct * 1e-11, -96.408),
        (ris_ap * 1e-11, -65.535),
        (user_ris, -54.598),
    ):
        assert 10 * math.log10(power.mean().item()) == pytest.approx(gain_db, abs=0.3)


def test_t20_the_world_does_not_depend_on_the_policy() -> None:
    full, other, select = world(FULL, 4), world(FULL, 4), world(SELECT, 4)
    arrivals: list[Tensor] = []
    for step in range(30):
        outs = [
            full.advance(hybrid(full, step)),
            other.advance(torch.ones_like(hybrid(other, step))),
            select.advance(torch.full((4,), step % 3)),
        ]
        arrivals = [metric(full, out, "arrived_bits") for out in outs]
        for rows in (other, select):
            assert torch.equal(rows.state.links, full.state.links)
            assert torch.equal(rows.state.position_m, full.state.position_m)
            assert torch.equal(rows.state.backlog_bits[..., -1], full.state.backlog_bits[..., -1])
        assert torch.equal(arrivals[0], arrivals[1])
        assert torch.equal(arrivals[0], arrivals[2])


@pytest.mark.parametrize("system", [FULL, SELECT])
def test_t20_a_row_alone_is_the_row_in_a_batch(system: str) -> None:
    batch = world(system, 8, first=40)
    alone = world(system, 1, first=43)
    for step in range(40 if system == FULL else 12):
        action = hybrid(batch, step) if system == FULL else (torch.arange(8) + step) % 3
        many, one = batch.advance(action), alone.advance(action[3:4])
        torch.testing.assert_close(many.observation[3:4], one.observation, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(many.reward[3:4], one.reward, rtol=1e-9, atol=1e-12)
    for left, right in zip(batch.state, alone.state, strict=True):
        torch.testing.assert_close(left[3:4], right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("block", [EXTRACTION, SURFACE, ORDER])
@pytest.mark.parametrize("by_parameter", [False, True])
def test_t22_a_block_changes_nothing_else(block: int, by_parameter: bool) -> None:
    rows = world(FULL, 6, action_mode="block_param") if by_parameter else world(SELECT, 6)

    generator = torch.Generator().manual_seed(0)

    def act(number: int) -> Any:
        chosen = torch.full((6,), number)
        if not by_parameter:
            return chosen
        return {
            "block": chosen,
            "controls": torch.rand(6, 44, generator=generator, dtype=F64) * 2 - 1,
        }

    for number in (0, 1, 2, 0):
        rows.advance(act(number))
    before = rows.state
    rows.advance(act(block))
    after = rows.state
    parts = {
        EXTRACTION: (before.users[..., :2], after.users[..., :2]),
        SURFACE: (before.surface, after.surface),
        ORDER: (before.order, after.order),
    }
    for number, (old, new) in parts.items():
        if number != block:
            assert torch.equal(old, new)
        elif not (number == ORDER and not by_parameter):  # gains may keep their order
            assert not torch.equal(old, new)
    expected = before.ages + 1
    expected[:, block] = 0
    assert torch.equal(after.ages, expected)


# ------------------------------------------------------------------------------------ observation


def test_observation_by_the_dossiers_formulas() -> None:
    """Every compact feature computed again, user by user, with torch's complex numbers."""
    rows = world(SELECT, 3)
    for block in (1, 0, 2, 0):
        out = rows.advance(torch.full((3,), block))
    state, k_users, n_el = rows.state, 4, 32
    links = torch.complex(state.links[:, 0], state.links[:, 1])
    d, big_g, r = links[:, :4], links[:, 4:36], links[:, 36:].reshape(3, k_users, n_el)
    v = torch.complex(state.surface[:, 0], state.surface[:, 1])
    cascaded = r * big_g.unsqueeze(1)
    gain = (d + (cascaded * v.unsqueeze(1)).sum(-1)).abs() ** 2
    bound = (d.abs() + cascaded.abs().sum(-1)) ** 2
    beta = math.log(2.0) / 5000.0
    for i in range(3):
        order = state.order[i].tolist()
        features = []
        total_energy = 2e-4
        interference, unclipped_interference = 1.0, 1.0
        power, unclipped, compute, planned = {}, {}, {}, {}
        for k in range(k_users):
            b, rho = state.backlog_bits[i, k], state.rho[i, k].item()
            cap = 1.5e9 * 5e-3 / (60.0 * -math.log(rho)) if rho < 1 else math.inf
            planned[k] = min(max(state.volume_bits[i, k].item(), b[0].item()), b.sum().item(), cap)
            compute[k] = 1e-27 * (60.0 * planned[k] * -math.log(rho)) ** 3 / 25e-6
        for k in reversed(order):
            s = state.queue_bits[i, k].item() + state.rho[i, k].item() * planned[k]
            target, g = math.expm1(beta * s), gain[i, k].item()
            power[k] = min(0.2, target * interference / g)
            unclipped[k] = target * unclipped_interference / g
            interference += power[k] * g
            unclipped_interference += unclipped[k] * g
            total_energy += 5e-3 / 0.8 * power[k] + compute[k]
        for k in range(k_users):
            b = state.backlog_bits[i, k]
            oa = max(b[: w + 1].sum().item() / (w + 1) for w in range(4))
            features += [
                (math.log10(gain[i, k]) - 2) / 2,
                math.log10(gain[i, k] / bound[i, k]),
                oa / 6e4,
                planned[k] / 6e4,
                state.volume_bits[i, k].item() / 6e4,
                state.rho[i, k].item(),
                state.queue_bits[i, k].item() / 6e4,
                order.index(k) / 3,
                int((gain[i] > gain[i, k]).sum()) / 3,
                math.log10(unclipped[k] / 0.2 + 1e-3),
                math.log10(1 + compute[k] / 1e-3),
                *(b / 6e4).tolist(),
            ]
        features += [0.0, 0.3, 0.1, math.log10(1 + total_energy / 1e-3), 4 / 100]
        expected = torch.tensor(features).clamp(-10, 10)
        torch.testing.assert_close(out.observation[i], expected, rtol=1e-5, atol=1e-6)


def test_first_ages_and_size_of_the_observation() -> None:
    rows = world(SELECT, 2)
    observation = rows.observation()
    assert observation.shape == (2, 65)
    assert observation.dtype == torch.float32
    assert observation[:, 60:63].tolist() == [[1.0] * 3] * 2
    ready = world(SELECT, 2, init="ao")
    assert ready.observation()[:, 60:63].tolist() == [[0.0] * 3] * 2
    full = world(FULL, 2, observation="full", num_antennas=2)
    assert full.observation().shape == (2, 65 + 2 * 4 * 2 + 2 * 4 * 32 * 2)


def test_full_observation_has_links_of_unit_power() -> None:
    rows = world(FULL, 2000, observation="full", num_users=1, num_elements=4)
    links = rows.observation()[:, 20:]
    assert links[:, :2].square().sum(1).mean().item() == pytest.approx(1.0, rel=0.1)
    assert links[:, 2:].square().sum(1).mean().item() == pytest.approx(4.0, rel=0.1)


def test_estimation_errors_reach_the_observation_and_not_the_physics() -> None:
    exact, noisy = world(FULL, 4), world(FULL, 4, csi_error=0.5)
    seen = [exact.observation(), noisy.observation()]
    assert not torch.allclose(seen[0][:, 0], seen[1][:, 0])
    for step in range(10):
        action = hybrid(exact, step)
        left, right = exact.advance(action), noisy.advance(action)
        torch.testing.assert_close(left.reward, right.reward, rtol=1e-12, atol=0)
    blind = world(SELECT, 64, csi_error=3.0)
    sharp = world(SELECT, 64)
    energy = {}
    for name, rows in (("blind", blind), ("sharp", sharp)):
        total = 0.0
        for step in range(30):
            total += (
                metric(rows, rows.advance(torch.full((64,), step % 3)), "energy_j").sum().item()
            )
        energy[name] = total
    assert energy["blind"] > 1.1 * energy["sharp"]


# -------------------------------------------------------------------------------- robust and sane

VARIANTS: list[dict[str, Any]] = [
    {},
    {"num_users": 1},
    {"num_elements": 0},
    {"num_antennas": 3, "num_users": 2, "num_elements": 8},
    {"tx_mode": "fixed_power"},
    {"tx_mode": "fixed_power", "num_antennas": 2, "num_elements": 4},
    {"window_slots": 1},
    {"cpu_law": "linear", "workload": "linear"},
    {"workload": "power", "ris_bits": 2},
    {"csi_error": 0.2, "observation": "full", "num_elements": 6},
    {"reward": "slot_ee", "quality_weighted": True},
    {"rho_min": 1.0},
    {"queue_limit_bits": 1.0, "max_power_w": 1e-6},
]


def check_sane(rows: Rows[Any, Any], out: Outcome) -> None:
    space = rows.system.observation_space
    assert bool(torch.isfinite(out.reward).all())
    assert bool(torch.isfinite(out.metrics).all())
    assert all(bool(torch.isfinite(t).all()) for t in rows.state)
    for one in out.observation.numpy():
        assert space.contains(one)
    state = rows.state
    assert bool((state.users[..., :4] >= 0).all())
    assert bool((state.backlog_bits >= 0).all())
    size = state.surface.square().sum(1)
    torch.testing.assert_close(size, torch.ones_like(size), rtol=1e-5, atol=0)
    assert torch.equal(
        state.order.sort(-1).values, torch.arange(state.order.shape[1]).expand_as(state.order)
    )


@pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda v: "-".join(f"{k}={x}" for k, x in v.items())
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_full_control_stays_finite_for_any_action(variant: dict[str, Any], dtype: str) -> None:
    rows = world(FULL, 12, dtype=dtype, **variant)
    for step in range(60):
        action = hybrid(rows, step)
        if step % 3 == 1:  # corners
            action = action.sign()
        if step % 12 == 2:
            action = torch.full_like(action, 1.0 if step % 24 == 2 else -1.0)
        check_sane(rows, rows.advance(action))


@pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda v: "-".join(f"{k}={x}" for k, x in v.items())
)
def test_block_selection_stays_finite(variant: dict[str, Any]) -> None:
    rows = world(SELECT, 6, dtype="float32", allow_noop=True, **variant)
    for step in range(8):
        generator = torch.Generator().manual_seed(step)
        check_sane(rows, rows.advance(torch.randint(0, 4, (6,), generator=generator)))


def test_a_long_run_of_one_block_stays_finite() -> None:
    rows = world(SELECT, 4, dtype="float32", allow_noop=True)
    for _ in range(100):
        out = rows.advance(torch.arange(4))
    check_sane(rows, out)


@pytest.mark.parametrize("queue", ["rate", "queue"])
def test_hold_rate_keeps_the_volume_and_hold_queue_follows_the_backlog(queue: str) -> None:
    rows = world(SELECT, 5, hold=queue, allow_noop=True, info_level=1)
    for step in range(10):
        before = rows.state
        out = rows.advance(torch.full((5,), 3))
        b = before.backlog_bits
        due = torch.stack([b[..., : w + 1].sum(-1) / (w + 1) for w in range(4)]).amax(0)
        wish = before.volume_bits if queue == "rate" else due
        # rho = 0.5 lets the processor do 180 kbit.
        expected = torch.minimum(torch.maximum(wish, b[..., 0]), b.sum(-1))
        torch.testing.assert_close(out.diagnostics["volume_bits"], expected)
        assert torch.equal(rows.state.volume_bits, before.volume_bits), step


def test_noop_holds_everything() -> None:
    rows = world(SELECT, 3, allow_noop=True)
    before = rows.state
    out = rows.advance(torch.full((3,), 3))
    assert torch.equal(rows.state.surface, before.surface)
    assert torch.equal(rows.state.order, before.order)
    assert torch.equal(rows.state.users[..., :2], before.users[..., :2])
    assert metric(rows, out, "solver_ops").tolist() == [0.0] * 3


def test_solver_operations_are_reported_by_row() -> None:
    rows = world(SELECT, 3)
    out = rows.advance(torch.tensor([0, 1, 2]))
    assert metric(rows, out, "solver_ops").tolist() == [960.0, 1280.0, 8.0]
    assert ao_ops(rows.system.model, 1) == 960 + 1280 + 16


def test_diagnostics_have_their_declared_shapes() -> None:
    for system in (FULL, SELECT):
        rows = world(system, 5, info_level=1)
        action = hybrid(rows, 0) if system == FULL else torch.arange(5) % 3
        out = rows.advance(action)
        declared = {m.name: m.shape for m in rows.system.metrics if m.level == 1}
        assert out.diagnostics.keys() == declared.keys()
        for name, value in out.diagnostics.items():
            assert value.shape == (5, *declared[name]), name
        useful, energy = metric(rows, out, "useful_bits"), metric(rows, out, "energy_j")
        torch.testing.assert_close(out.diagnostics["ee_cum_bit_per_j"], useful / energy)


def test_first_state_is_the_dossiers() -> None:
    state = world(FULL, 500).state
    assert state.order.tolist() == [[0, 1, 2, 3]] * 500
    assert bool((state.rho == 0.5).all())
    assert bool((state.volume_bits == 2e4).all())
    assert bool((state.queue_bits == 0).all())
    assert bool((state.backlog_bits[..., :3] == 0).all())
    first = state.backlog_bits[..., 3]
    assert (first > 0).double().mean().item() == pytest.approx(0.5, abs=0.04)
    assert 2e4 <= first[first > 0].min() <= first.max() <= 6e4
    assert first[first > 0].mean().item() == pytest.approx(4e4, rel=0.03)
    radius = (state.position_m - torch.tensor([40.0, 0.0], dtype=F64)).norm(dim=-1)
    assert radius.max() <= 8.0
    assert (radius < 4.0).double().mean().item() == pytest.approx(0.25, abs=0.04)


def test_policies_rank_as_the_prototype_did() -> None:
    """EE in Mbit/J of the dossier's 6.2: round-robin 26.5, 0-1 alternation 27.7, only RIS 13.0."""
    ee = {}
    for name, cycle in {"round_robin": (0, 1, 2), "static_01": (0, 1), "only_ris": (1,)}.items():
        rows = world(SELECT, 48, dtype="float32")
        bits = energy = 0.0
        for _, block in zip(range(50), itertools.cycle(cycle), strict=False):
            out = rows.advance(torch.full((48,), block))
            bits += metric(rows, out, "useful_bits").sum().item()
            energy += metric(rows, out, "energy_j").sum().item()
        ee[name] = bits / energy / 1e6
    assert ee["round_robin"] == pytest.approx(26.5, abs=2.5)
    assert ee["static_01"] == pytest.approx(27.7, abs=2.5)
    assert ee["only_ris"] == pytest.approx(13.0, abs=2.0)


# ------------------------------------------------------------------------------------------ params


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"num_users": 0}, "num_users"),
        ({"num_user": 3}, "num_user"),
        ({"rho_min": 1.5}, "rho_min"),
        ({"tx_mode": "max_power"}, "tx_mode"),
        ({"num_elements": 3.5}, "num_elements"),
        ({"min_task_bits": 7e4}, "max_task_bits"),
        ({"hold": "rate"}, "hold"),
    ],
)
def test_wrong_parameters_are_named(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ParamsError, match=field):
        RisNomaParams.create(**values)


@pytest.mark.parametrize("cls", [RisNoma, RisNomaSelect])
def test_every_preset_makes_a_system(cls: type[RisNoma]) -> None:
    for preset in cls.params_type.presets:
        cls(cls.params_type.create(preset))


def test_every_parameter_has_unit_range_and_source() -> None:
    for cls in (RisNoma, RisNomaSelect):
        for line in cls.params_type.table():
            assert line.source in {"paper", "related", "standard", "ours"}, line.name
            assert line.description.endswith("."), line.name
            assert line.allowed, line.name

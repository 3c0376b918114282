"""Baselines of `sixgym/TwinSync-v0`: rules by hand, the tuned partition, the dispatcher."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sixgym.baselines.policy import load_baselines
from sixgym.baselines.twin_mobility.sync import BASELINES, ID
from sixgym.baselines.twin_mobility.sync_cycles import Coming, expected_age
from sixgym.baselines.twin_mobility.sync_dispatch import (
    CYCLE_S,
    Dispatcher,
    no_orders,
    problem_of,
)
from sixgym.baselines.twin_mobility.sync_rules import StaticPartition, partition
from sixgym.baselines.twin_mobility.sync_view import STAY, THETA0, View
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.make import make_system, make_vector_env
from sixgym.envs.core.rollout import Episodes, rollout
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.core.worlds import row_seed
from sixgym.envs.twin_mobility import TwinSync
from sixgym.envs.twin_mobility.actions import resources
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.state import DEAD, IDLE

RULES = tuple(name for name in BASELINES if name != "hierarchical")
FOUR: dict[str, Any] = {
    "pos": [[100.0, 100.0], [120.0, 100.0], [140.0, 100.0], [880.0, 900.0]],
    "reg_xy": [[100.0, 200.0], [900.0, 900.0]],
    "kappa": [0.5] * 4,
    "f_max": [5e9] * 4,
    "drift": [0.05, 0.05],
    "f_min": [0.8, 0.8],
    "aoi0": [0.0, 30.0],
}
"""Three agents near region 0, one near region 1, whose twin is old."""
SMALL = {"num_agents": 4, "num_regions": 2}


def batch(rows: int, **kwargs: Any) -> SixgymVectorEnv:
    return make_vector_env(TwinSync, rows, max_episode_steps=kwargs.pop("steps", 600), **kwargs)


def started(instance: dict[str, Any], rows: int = 1, **kwargs: Any) -> tuple[SixgymVectorEnv, Any]:
    env = batch(rows, **SMALL | kwargs)
    return env, env.reset(seed=0, options={"instance": instance})[0]


def policy(env: SixgymVectorEnv, name: str) -> Any:
    made = BASELINES[name].make(env.system)
    if hasattr(made, "attach"):
        made.attach(env)
    return made


def regions(env: SixgymVectorEnv, action: NDArray[np.float32]) -> list[list[int]]:
    """Region by row and agent; -1 for staying."""
    p = env.system.params
    parts = action.reshape(len(action), p.num_agents, -1)[..., : p.num_regions + 1]
    chosen: list[list[int]] = (parts.argmax(-1) - 1).tolist()
    return chosen


def first_choice(name: str, instance: dict[str, Any] = FOUR, **kwargs: Any) -> list[int]:
    env, seen = started(instance, **kwargs)
    return regions(env, policy(env, name).predict(seen)[0])[0]


def j_max(episodes: Episodes) -> float:
    return float(episodes.sums["max_deviation"].sum() / episodes.sums["slots"].sum())


# ------------------------------------------------------------------------------------------ rules


def test_nearest_region_goes_by_distance() -> None:
    assert first_choice("nearest_region") == [0, 0, 0, 1]


def test_naive_rule_sends_all_to_the_worst_region() -> None:
    assert first_choice("naive_maxdev") == [1, 1, 1, 1]


def test_coordinated_rule_spreads_agents() -> None:
    # deviations 0.2 and 1.7: 1.7, then 0.85, 0.57, 0.43 against 0.2
    assert first_choice("coordinated_maxdev") == [1, 1, 1, 1]
    even = FOUR | {"aoi0": [20.0, 30.0]}  # 1.2 and 1.7: 1.7; 1.2 to 0.85; 0.6 to 0.85; 0.6 to 0.57
    assert first_choice("coordinated_maxdev", even) == [1, 0, 1, 0]


def test_coordinated_rule_counts_who_is_on_the_way() -> None:
    env, seen = started(FOUR | {"aoi0": [20.0, 30.0]})
    rule = policy(env, "coordinated_maxdev")
    sight = rule.view.look(seen)
    busy = sight._replace(
        target=torch.tensor([[STAY, 1, 1, 1]]),
        is_open=sight.is_open & torch.tensor([True, False, False, False])[None, :, None],
    )
    assert rule.choose(busy, None)[0][0, 0] == 0


def test_round_robin_takes_turns_from_each_agent_on() -> None:
    env, seen = started(FOUR)
    rule = policy(env, "round_robin")
    action, turn = rule.predict(seen)
    assert regions(env, action)[0] == [0, 1, 0, 1]
    assert turn[0].tolist() == [1, 0, 1, 0]
    seen = env.step(action)[0]
    action, turn = rule.predict(seen, turn)
    assert regions(env, action)[0] == [STAY] * 4  # on their way: nothing is chosen, no turn taken
    assert turn[0].tolist() == [1, 0, 1, 0]


def test_random_region_takes_all_regions_and_only_those_in_reach() -> None:
    env = batch(64)
    rule = policy(env, "random_region")
    chosen = np.array(regions(env, rule.predict(env.reset(seed=0)[0])[0]))
    share = np.bincount(chosen.ravel(), minlength=4) / chosen.size
    assert np.allclose(share, 0.25, atol=0.06)
    again = np.array(regions(env, rule.predict(env.reset(seed=0)[0])[0]))
    assert (again == chosen).all()
    weak = FOUR | {"batt": [20.0] * 4}  # pays 80 m
    for _ in range(4):
        assert first_choice("random_region", weak) == [0, 0, 0, 1]


@pytest.mark.parametrize("name", RULES)
def test_nobody_sets_out_for_what_its_battery_does_not_reach(name: str) -> None:
    chosen = first_choice(name, FOUR | {"batt": [1.0, 20.0, 20.0, 20.0]})
    assert chosen[0] == STAY
    assert all(c in (STAY, own) for c, own in zip(chosen, (0, 0, 0, 1), strict=True))


def test_common_resources_are_those_that_are_documented() -> None:
    p = TwinSyncParams()
    cpu = torch.tensor(5e9)
    used = resources(THETA0.level(p), cpu, p)
    found = [float(x) for x in used]
    assert found == pytest.approx([10.0, 5.0, 5e9, 0.25, 0.3, 0.2, 1.0], rel=1e-5)
    slow = THETA0._replace(speed_mps=99.0, sensing_s=0.1).level(p)
    assert slow[:2].tolist() == [1.0, 0.0]


# ------------------------------------------------------------------------------------- partitions


def test_static_partition_is_balanced_and_the_shortest() -> None:
    assert first_choice("static_partition") == [0, 0, 1, 1]


@pytest.mark.parametrize(("alive", "count"), [(8, 3), (7, 3), (2, 3), (0, 3), (5, 4), (6, 1)])
def test_partition_gives_every_region_its_share_of_the_living(alive: int, count: int) -> None:
    generator = torch.Generator().manual_seed(alive)
    distance = torch.rand(5, 8, count, generator=generator)
    living = torch.arange(8).expand(5, -1) < alive
    found = partition(distance, living)
    assert (found[~living] == STAY).all()
    assert (found[living] >= 0).all()
    groups = torch.stack([(found == r).sum(-1) for r in range(count)], -1)
    assert int(groups.min()) == alive // count
    assert int(groups.max()) == -(-alive // count)


def test_partition_is_kept_until_somebody_dies() -> None:
    places = [*FOUR["pos"][:3], [800.0, 800.0]]
    weak = FOUR | {"batt": [2000.0, 2000.0, 2000.0, 30.0], "pos": places}
    env, seen = started(weak)
    rule = StaticPartition(env.system, "static")
    action, held = rule.predict(seen)
    assert held.region[0].tolist() == [0, 0, 1, 1]
    while int(env.rows.state.stage[0, 3]) != DEAD:
        assert held.region[0].tolist() == [0, 0, 1, 1]
        seen = env.step(action)[0]
        before = held.region
        action, held = rule.predict(seen, held)
    assert before[0].tolist() == [0, 0, 1, 1]
    assert held.region[0, 3] == STAY
    assert sorted(held.region[0, :3].tolist()) in ([0, 0, 1], [0, 1, 1])


def test_partition_is_made_anew_for_a_new_episode() -> None:
    env = batch(3, steps=4)
    rule = StaticPartition(env.system, "static")
    action, held = rule.predict(env.reset(seed=0)[0])
    first = held.region
    for _ in range(5):
        action, held = rule.predict(env.step(action)[0], held)
    assert int(env.rows.state.slot[0]) == 0
    assert (held.region != first).any()
    seen = env.rows.observation()
    assert isinstance(seen, torch.Tensor)
    assert (held.region == rule.predict(seen.numpy())[1].region).all()


def test_tuned_partition_senses_until_its_packet_suffices_alone() -> None:
    instance = FOUR | {"kappa": [0.2, 0.4, 0.5, 0.6], "f_min": [0.9, 0.8]}
    env, seen = started(instance)
    rule, held, delivered = policy(env, "static_tuned"), None, np.zeros(4)
    for _ in range(120):
        action, held = rule.predict(seen, held)
        seen, _, _, _, info = env.step(action)
        state = env.rows.state
        has = (state.info > 0.0)[0]
        need = state.theta[0][state.target[0].clamp_min(0)]
        assert torch.allclose(state.info[0][has], 1.005 * need[has], rtol=1e-4)
        delivered += info["short"][0]
    assert delivered.sum() == 0


def test_tuned_partition_drives_by_what_its_battery_has_left() -> None:
    env, seen = started(FOUR)
    rule = policy(env, "static_tuned")
    sight = rule.view.look(seen)
    region = torch.zeros(1, 4, dtype=torch.int64)
    shares = torch.tensor([[0.1, 0.45, 0.5, 1.0]])
    level = rule.controls(sight._replace(battery=shares, time_left=torch.tensor([0.5])), region)
    speed = 1.0 + 19.0 * level[0, :, 0]
    assert speed[2] == pytest.approx(13.0, rel=1e-5)
    assert (speed.diff() > 0).all()
    assert speed[3] == pytest.approx(20.0)


# ------------------------------------------------------------------------------------- dispatcher


def test_dispatcher_serves_both_regions_within_its_energy() -> None:
    env, seen = started(FOUR | {"aoi0": [10.0, 10.0]}, cycle_energy_j=60.0, battery_j=2000.0)
    planner = policy(env, "hierarchical")
    action, orders = planner.predict(seen)
    assert set(regions(env, action)[0]) - {STAY} == {0, 1}
    spent = np.zeros(4)
    over = 0.0
    for _ in range(80):
        seen, _, _, _, info = env.step(action)
        over += float(info["over_budget"][0])
        spent += info["energy"][0].sum(-1)
        action, orders = planner.predict(seen, orders)
    assert over == 0.0
    assert spent.max() > 0.0
    assert (env.rows.state.twin_stamp[0] > 0.0).all()


def test_dispatcher_does_better_than_the_static_partition_on_a_toy() -> None:
    found = {}
    for name in ("hierarchical", "static_partition"):
        env, seen = started(FOUR, steps=100)
        played, held, total = policy(env, name), None, 0.0
        for _ in range(100):
            action, held = played.predict(seen, held)
            seen, _, _, _, info = env.step(action)
            total += float(info["max_deviation"][0])
        found[name] = total / 100
    assert found["hierarchical"] < found["static_partition"]


def test_dispatcher_delivers_about_when_it_planned() -> None:
    env, seen = started(FOUR | {"aoi0": [20.0, 20.0]})
    planner = policy(env, "hierarchical")
    action, orders = planner.predict(seen)
    assert STAY not in regions(env, action)[0]
    due, arrived = orders.due_s[0].numpy(), np.full(4, np.nan)
    for k in range(1, 100):
        seen = env.step(action)[0]
        is_idle = env.rows.state.stage[0].numpy() == IDLE
        arrived = np.where(is_idle & np.isnan(arrived), k, arrived)
        action, orders = planner.predict(seen, orders)
        if not np.isnan(arrived).any():
            break
    # sooner where the band is not shared, later by the rounding to slots
    assert (arrived - due < 3.0).all()
    assert (arrived - due > -8.0).all()


def test_dispatcher_paces_energy() -> None:
    env, _ = started(FOUR | {"batt": [1500.0, 600.0, 150.0, 2.0]})
    state = env.rows.state
    view = View(env.system, "x")
    seats = torch.arange(4).unsqueeze(0)
    wide = type(state)(*(t.double() if t.is_floating_point() else t for t in state))
    early = problem_of(view, wide, no_orders(wide), seats).energy_j[0]
    share = CYCLE_S / 600.0
    assert early.tolist() == pytest.approx([1500 * share, 600 * share, 10.0, 2 * share], rel=1e-4)
    late = wide._replace(slot=torch.tensor([580.0], dtype=torch.float64))
    energy = problem_of(view, late, no_orders(late), seats).energy_j[0]
    assert energy.tolist() == pytest.approx([160.0, 160.0, 150.0, 2.0], rel=1e-4)


def test_expected_age_takes_the_newest_sample_that_suffices() -> None:
    env, _ = started(FOUR)
    state = env.rows.state
    wide = type(state)(*(t.double() if t.is_floating_point() else t for t in state))
    problem = problem_of(View(env.system, "x"), wide, no_orders(wide), torch.arange(4)[None])
    theta = float(problem.theta[0, 0])
    coming = Coming(
        torch.tensor([[0, 0, 1, 1]]),
        torch.tensor([[5.0, 8.0, -2.0, 3.0]]),
        torch.tensor([[10.0, 20.0, 12.0, 14.0]]),
        torch.tensor([[1.0, 1.0, 0.6, 0.6]]) * theta,
    )
    time = torch.tensor([9.0, 11.0, 13.0, 15.0, 25.0])[None, :, None].expand(1, 5, 2)
    age = expected_age(coming, problem, time)[0]
    assert age[:, 0].tolist() == pytest.approx([9.0, 6.0, 8.0, 10.0, 17.0])
    assert age[:, 1].tolist() == pytest.approx([39.0, 41.0, 43.0, 17.0, 27.0])


def test_an_agent_that_improves_nothing_goes_where_it_will_be_needed() -> None:
    """One agent alone can serve both regions in turn: the other one has nothing to improve."""
    env, seen = started(FOUR | {"pos": [[100.0, 200.0]] * 4, "aoi0": [0.0, 0.0]})
    action, _ = policy(env, "hierarchical").predict(seen)
    assert STAY not in regions(env, action)[0]


def test_dispatcher_asks_rarely_for_agents_that_can_do_nothing() -> None:
    env, seen = started(FOUR | {"batt": [5.0] * 4})
    planner = policy(env, "hierarchical")
    action, orders = planner.predict(seen)
    assert regions(env, action)[0] == [STAY] * 4
    assert orders.asks_s[0].tolist() == [5.0] * 4
    env.step(action)
    assert planner.dispatch(env.rows.state, orders)[1].asks_s[0].tolist() == [5.0] * 4


def test_dispatcher_needs_the_environment_it_plays_in() -> None:
    env, seen = started(FOUR)
    planner = BASELINES["hierarchical"].make(env.system)
    with pytest.raises(PolicyError, match="attach"):
        planner.predict(seen)
    planner = policy(env, "hierarchical")
    with pytest.raises(PolicyError, match="2 observations"):
        planner.predict(np.repeat(seen, 2, 0))
    assert isinstance(planner, Dispatcher)


# ----------------------------------------------------------------------------------------- all


def test_the_registered_environment_has_them() -> None:
    found = load_baselines(ID)
    assert set(BASELINES) | {"random", "constant"} == set(found)
    assert [b.name for b in found.values() if b.kind == "reference"] == ["static_partition"]


@pytest.mark.parametrize("name", BASELINES)
def test_other_layouts_of_actions_are_refused(name: str) -> None:
    discrete = make_system(TwinSync, action_mode="discrete")
    hybrid = make_system(TwinSync, action_mode="hybrid", joint="dict")
    for system in (discrete, hybrid):
        with pytest.raises(PolicyError, match="action_mode 'flat'"):
            BASELINES[name].make(system)


VARIANTS: tuple[dict[str, Any], ...] = (
    *({"preset": name} for name in TwinSyncParams.presets if name != "default"),
    {"mask_in_obs": True},
    {"obs_noise_age": True},
    {"observe_others": False, "death_mode": "remove", "battery_j": 60.0},
    {"overlap_proc_move": True, "coop_mode": "barrier", "bw_mode": "minmax"},
    {"fading": "rayleigh", "shadowing_db": 6.0, "modality": "random"},
    {"deviation": "ou"},
    {"num_agents": 2, "num_regions": 3},
    {"compression_min": 1.0, "speed_min_mps": 5.0, "speed_max_mps": 5.0, "battery_j": 60.0},
)


QUICK = ({"preset": "small"}, {"preset": "uav"}, *VARIANTS[-8:])
"""What the fast suite plays."""


@pytest.mark.parametrize(
    "kwargs",
    [pytest.param(v, marks=() if v in QUICK else pytest.mark.slow) for v in VARIANTS],
    ids=str,
)
def test_every_rule_plays_every_variant(kwargs: dict[str, Any]) -> None:
    env = batch(2, steps=12, **kwargs)
    for name in RULES:
        episodes = rollout(env, BASELINES[name].make(env.system), [5, 6])
        assert np.isfinite(episodes.reward).all(), name


@pytest.mark.parametrize(
    "kwargs",
    [
        pytest.param(v, marks=() if v in ({"preset": "small"},) else pytest.mark.slow)
        for v in VARIANTS
    ],
    ids=str,
)
def test_the_dispatcher_plays_every_variant(kwargs: dict[str, Any]) -> None:
    env = batch(2, steps=50, **kwargs)
    episodes = rollout(env, BASELINES["hierarchical"].make(env.system), [5, 6])
    assert np.isfinite(episodes.reward).all()
    assert (episodes.sums["over_budget"] == 0).all() or "overlap_proc_move" in kwargs


@pytest.mark.slow
def test_rules_stand_in_the_expected_order() -> None:
    """Time averages of the largest deviation over whole episodes, preset default."""
    env = batch(16)
    seeds = row_seed("tuning", 1) + np.arange(16)
    found = {n: j_max(rollout(env, BASELINES[n].make(env.system), seeds)) for n in RULES}
    assert found["static_tuned"] < found["static_partition"] < found["coordinated_maxdev"]
    assert found["coordinated_maxdev"] < found["random_region"]
    assert found["random_region"] < min(found["naive_maxdev"], found["nearest_region"])
    assert found["coordinated_maxdev"] < found["round_robin"] < found["naive_maxdev"]
    few = batch(4, steps=300)
    dispatcher = BASELINES["hierarchical"].make(few.system)
    static = BASELINES["static_partition"].make(few.system)
    assert j_max(rollout(few, dispatcher, seeds[:4])) < j_max(rollout(few, static, seeds[:4]))

"""The network of TwinSync: what its moves depend on, what it trains on, where it plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from team_cases import flat_table, opinionated, uniforms
from torch import Tensor

import sixgym  # noqa: F401  (registers the ids)
from sixgym.agents import export_policy, load_policy, save_policy
from sixgym.agents.config import TrainConfig
from sixgym.agents.hybrid import of_flat
from sixgym.agents.team.nets import ALIVE
from sixgym.agents.team.policy import MAPPO
from sixgym.agents.team.twin_set import TwinActor, TwinCritic
from sixgym.agents.team.twin_sight import Sights
from sixgym.agents.train import check, make_env, make_model, train
from sixgym.envs.core.errors import ConfigError, PolicyError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.rollout import rollout
from sixgym.envs.core.team_sb3 import make_team_vec_env
from sixgym.envs.twin_mobility.state import DEAD, IDLE, SyncState
from sixgym.envs.twin_mobility.sync import TwinSync
from sixgym.leaderboard.runner import make_rows

ID = "sixgym/TwinSync-v0"
BRISK: dict[str, Any] = {"area_m": 300.0, "sensing_max_s": 4.0, "battery_j": 120.0}
"""Short ways and little energy: agents are in all stages after few slots, some of them dead."""

pytestmark = pytest.mark.filterwarnings(
    # SB3 counts pairs where a minibatch counts rows.
    "ignore:You have specified a mini-batch size",
    "ignore:.torch.jit.script. is deprecated",
)


def twins(**params: Any) -> TwinSync:
    """The game in the layout of views of seats."""
    wanted = {**BRISK, "mask_in_obs": True, **params}
    return cast("TwinSync", make_system(TwinSync, joint="dict", **wanted))


def random_moves(system: TwinSync, rows: int, draw: torch.Generator) -> dict[str, Tensor]:
    """Moves drawn uniformly from the space."""
    shape = (rows, system.num_seats, *cast("tuple[int]", system.groups[0].action_space.shape))
    return {"agent": 2.0 * torch.rand(shape, generator=draw) - 1.0}


def step(system: TwinSync, state: SyncState, moves: dict[str, Tensor], t: int = 1) -> SyncState:
    """One slot on."""
    key = torch.arange(len(state.slot), dtype=torch.int64)
    return system.play(state, moves, system.step_draws.draw(key, torch.zeros_like(key) + t))[0]


def played(system: TwinSync, rows: int = 6, slots: int = 25, seed: int = 0) -> SyncState:
    """A state after some slots of random moves."""
    draw = torch.Generator().manual_seed(seed)
    key = torch.arange(rows, dtype=torch.int64) * 7919 + seed
    state = system.start(system.start_draws.draw(key, torch.zeros_like(key)))
    for t in range(slots):
        state = step(system, state, random_moves(system, rows, draw), t)
    return state


def seen_in(system: TwinSync, state: SyncState) -> dict[str, Tensor]:
    """What all see, and who is there."""
    return {**system.perceive(state, {}), ALIVE: system.alive(state).to(torch.float32)}


def sights(system: TwinSync, **kwargs: Any) -> dict[str, Tensor]:
    """What all see after some slots of random moves."""
    return seen_in(system, played(system, **kwargs))


def actor(system: TwinSync, **sizes: Any) -> TwinActor:
    """A small one with opinions."""
    return cast("TwinActor", opinionated(TwinActor(system, width=8, company=4, **sizes)))


# ------------------------------------------------------------------------------------- the sight


@pytest.mark.parametrize("num_agents", [1, 5])
def test_parts_of_a_sight_are_those_of_the_state(num_agents: int) -> None:
    system = twins(num_agents=num_agents, num_regions=3)
    state = played(system)
    found = Sights(system)(seen_in(system, state))
    n = torch.arange(3)
    assert torch.equal(found.target, (state.target.unsqueeze(-1) == n).float())
    assert found.own.shape[-1] == 21
    assert found.other.shape == (6, num_agents, num_agents - 1, 10)
    for i in range(num_agents):
        others = [j for j in range(num_agents) if j != i]
        aims = (state.target[:, others].unsqueeze(-1) == n).float()
        assert torch.equal(found.other_target[:, i], aims)
        assert torch.equal(found.other[:, i, :, 2:9].argmax(-1), state.stage[:, others])
    masks = system.observer.masks(state)
    assert torch.equal(found.allowed > 0.5, masks[0])
    assert torch.equal(found.counts > 0.5, masks[1])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"raw_mode": "fixed"},
        {"overlap_proc_move": True},
        {"coop_mode": "barrier"},
        {"fixed_cpu": True, "equal_weight": True},
        {"bw_mode": "minmax"},
        {"speed_max_mps": 300.0, "cpu_max_range_flops": (1e11, 2e11)},
    ],
)
def test_numbers_that_cannot_be_read_change_nothing(params: dict[str, Any]) -> None:
    """And the others are few: a cycle reads most of them in one of its slots."""
    system = twins(num_agents=4, num_regions=3, **params)
    draw = torch.Generator().manual_seed(3)
    met, of = 0.0, 0.0
    state = played(system, rows=16, slots=0)
    for _ in range(24):
        sight = Sights(system)(seen_in(system, state))
        move = random_moves(system, 16, draw)["agent"]
        chosen, _ = of_flat(move, 4)
        chosen = torch.where(sight.allowed.gather(-1, chosen[..., None])[..., 0] > 0.5, chosen, 0)
        idle = (state.stage == IDLE).unsqueeze(-1)
        goes = chosen.unsqueeze(-1) == torch.arange(1, 4)
        heading = torch.where(idle, goes.float(), sight.target)
        read = Sights(system).readable(sight, heading)
        assert (read <= sight.counts[..., 1:]).all()
        met, of = met + float(read.sum()), of + float(sight.counts[..., 1:].sum())
        other = random_moves(system, 16, draw)["agent"]
        other[..., :4] = move[..., :4]
        other[..., 4:] = torch.where(read > 0.5, move[..., 4:], other[..., 4:])
        a, b = (step(system, state, {"agent": m}) for m in (move, other))
        for name, x, y in zip(SyncState._fields, a, b, strict=True):
            assert torch.equal(x, y), name
        state = a
    assert met < 0.95 * of


# ------------------------------------------------------------------------- what moves depend on


def shuffled(state: SyncState, agents: Tensor, regions: Tensor) -> SyncState:
    """The same state with its agents on other seats and its regions by other numbers."""
    back = torch.empty_like(regions)
    back[regions] = torch.arange(len(regions))
    by_agent = ("position", "destination", "stage", "remaining", "length", "way_m", "battery_j")
    by_agent += ("sensing_s", "compression", "approach", "stamp", "info", "raw_bits", "cycle_j")
    by_agent += ("cycle_start", "slot_j", "cpu_max")
    by_region = ("centre", "drift", "theta", "twin_stamp", "twin_info", "packet_stamp")
    changes = {k: getattr(state, k)[:, agents] for k in by_agent}
    changes |= {k: getattr(state, k)[:, regions] for k in (*by_region, "packet_info", "area")}
    target = state.target[:, agents]
    changes["target"] = torch.where(target >= 0, back[target.clamp_min(0)], target)
    changes["kappa"] = state.kappa[:, agents][:, :, regions]
    return state._replace(**changes)


def test_agents_and_regions_have_no_names() -> None:
    """Numbers and odds of a choice go with the agent and the region, not with seat and index."""
    system = twins(num_agents=5, num_regions=4)
    state = played(system, rows=16, slots=12)
    team = actor(system, head="independent")
    agents, regions = torch.tensor([3, 0, 4, 2, 1]), torch.tensor([2, 0, 3, 1])
    other = shuffled(state, agents, regions)
    a, b = (seen_in(system, s) for s in (state, other))
    move = random_moves(system, 16, torch.Generator().manual_seed(1))["agent"]
    columns = torch.cat([torch.tensor([0]), 1 + regions, torch.arange(5, 12)])
    same = move[:, agents][..., columns]
    one, two = team.judge(a, {"agent": move}), team.judge(b, {"agent": same})
    torch.testing.assert_close(two.log_prob, one.log_prob[:, agents], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(two.entropy, one.entropy[:, agents], atol=1e-4, rtol=1e-4)
    for central in (False, True):
        critic = opinionated(TwinCritic(system, central=central, width=8, company=4))
        values = critic(a, a)
        torch.testing.assert_close(critic(b, b), values[:, agents], atol=1e-4, rtol=1e-4)
        assert values.std() > 1e-3
    first = played(system, rows=16, slots=0)
    seen = seen_in(system, first)
    assert not torch.equal(team.judge(seen, {"agent": move}).log_prob, one.log_prob)


def test_who_chooses_later_is_told_what_was_chosen_before() -> None:
    """Not so with independent heads, and nobody is told what others choose after him."""
    system = twins(num_agents=5, num_regions=3)
    seen = sights(system, slots=0, rows=8)
    move = random_moves(system, 8, torch.Generator().manual_seed(1))["agent"]
    move[..., :4] = -1.0
    move[..., 1] = 1.0  # all go to the first
    other = move.clone()
    other[:, 2, 1], other[:, 2, 3] = -1.0, 1.0  # but the third agent
    for head, told in (("autoregressive", [3, 4]), ("independent", [])):
        team = actor(system, head=head)
        one, two = (team.judge(seen, {"agent": m}).log_prob for m in (move, other))
        changed = [i for i in range(5) if not torch.allclose(one[:, i], two[:, i], atol=1e-6)]
        assert [i for i in changed if i != 2] == told


@pytest.mark.parametrize("head", ["autoregressive", "independent"])
def test_moves_are_judged_as_they_were_made(head: Any) -> None:
    system = twins(num_agents=6, num_regions=3)
    team = actor(system, head=head)
    for slots in (0, 7, 40):
        seen = sights(system, slots=slots, rows=16)
        for deterministic in (False, True):
            acted = team.act(seen, uniforms(16, team.num_uniforms), deterministic)
            judged = team.judge(seen, acted.moves)
            torch.testing.assert_close(acted.log_prob, judged.log_prob, atol=1e-5, rtol=1e-5)
            chosen, u = of_flat(acted.moves["agent"], 4)
            allowed = seen["agent.region_mask"].gather(-1, chosen.unsqueeze(-1))[..., 0] > 0.5
            dead = seen["agent.component_mask"].sum(-1) == 0
            assert (allowed | dead).all()
            assert ((u > 0) & (u < 1)).all()
            assert not judged.log_prob[dead].any()
            assert not judged.entropy[dead].any()
    assert dead.any()


def test_equal_agents_spread_when_they_are_told() -> None:
    """All in one place: deterministic and independent they go to one region, told they can part."""
    system = twins(num_agents=4, num_regions=4)
    state = played(system, rows=4, slots=0)
    middle = torch.full_like(state.position, 150.0)
    same = {k: torch.ones_like(getattr(state, k)) for k in ("kappa", "cpu_max")}
    state = state._replace(position=middle, destination=middle, **same)
    seen = seen_in(system, state)
    told = actor(system)
    with torch.no_grad():  # whoever was chosen before is less worth choosing
        for p in told.point.parameters():
            p.zero_()
        told.point[0].weight[0, -2] = 1.0
        told.point[-1].weight[0, 0] = -9.0
        told.stay[-1].bias.fill_(-99.0)
    alone = actor(system, head="independent")
    regions = []
    for team in (told, alone):
        uniform = uniforms(4, 1).expand(-1, team.num_uniforms)
        regions.append(of_flat(team.act(seen, uniform, True).moves["agent"], 5)[0])
    assert [len(set(r)) for r in regions[0].tolist()] == [4] * 4
    assert [len(set(r)) for r in regions[1].tolist()] == [1] * 4


def test_numbers_that_are_not_read_give_no_gradient() -> None:
    system = twins(num_agents=4, num_regions=3)
    state = played(system, rows=8, slots=0)
    state = state._replace(stage=torch.full_like(state.stage, DEAD))
    team = actor(system)
    move = random_moves(system, 8, torch.Generator().manual_seed(1))
    judged = team.judge(seen_in(system, state), move)
    (judged.log_prob.sum() + judged.entropy.sum()).backward()  # type: ignore[no-untyped-call]
    assert not any(p.grad is not None and p.grad.any() for p in team.parameters())


def test_a_prior_is_what_an_untrained_team_does() -> None:
    prior = [0.1, 0.3, 0.5, 0.7, 0.9, 0.4, 0.6]
    system = twins(num_agents=3, num_regions=2)
    team = TwinActor(system, prior=prior)
    acted = team.act(sights(system), uniforms(6, team.num_uniforms), True)
    u = of_flat(acted.moves["agent"], 3)[1]
    assert u.mean((0, 1)).tolist() == pytest.approx(prior, abs=0.02)


def test_where_all_are_paid_the_same_one_value_is_of_all() -> None:
    for mode, differ in (("team", False), ("credit", True)):
        system = twins(num_agents=4, num_regions=3, reward_mode=mode)
        critic = opinionated(TwinCritic(system, central=True, width=8))
        seen = sights(system)
        values = critic(seen, seen)
        assert bool((values.std(1) > 1e-6).all()) is differ


@pytest.mark.parametrize(
    ("params", "sizes", "message"),
    [
        ({"mask_in_obs": False}, {}, "mask_in_obs=False, action_mode='flat': allowed: True, 'fl"),
        ({"action_mode": "discrete"}, {}, "action_mode='discrete': allowed: True, 'flat'"),
        ({}, {"width": 0}, "width=0: allowed: integers from 1"),
        ({}, {"heads": 3}, "heads=3: allowed: divisors of width=64"),
        ({}, {"head": "pointer"}, "head='pointer': allowed: autoregressive, independent"),
        ({}, {"prior": [0.5]}, r"prior=\[0.5\]: allowed: 7 numbers in \[0, 1\]"),
        ({}, {"prior": [2.0] * 7}, r"allowed: 7 numbers in \[0, 1\]"),
    ],
)
def test_what_it_cannot_play_is_refused(
    params: dict[str, Any], sizes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        TwinActor(twins(**params), **sizes)


def test_another_game_is_refused() -> None:
    from toy_games import Grant

    with pytest.raises(PolicyError, match="Grant: allowed: the system of sixgym/TwinSync-v0"):
        TwinActor(cast("Any", make_system(Grant)))


# ------------------------------------------------------------------------------------- training

NET: dict[str, Any] = {"net": "twin_set", "width": 8, "company": 4}


def small_team(rows: int = 3, net: dict[str, Any] | None = None, **params: Any) -> MAPPO:
    """A model that has collected one rollout and learned nothing from it."""
    wanted = {**BRISK, "mask_in_obs": True, "num_agents": 4, "num_regions": 3, **params}
    env = make_team_vec_env(ID, rows, seed=0, max_episode_steps=9, **wanted)
    brief: dict[str, Any] = {"n_steps": 12, "batch_size": 8, "n_epochs": 2, "seed": 0}
    model = MAPPO("TeamPolicy", env, policy_kwargs={**NET, **(net or {})}, device="cpu", **brief)
    opinionated(model.policy)
    model.train = lambda: None  # type: ignore[method-assign]
    model.learn(1)
    return model


@pytest.mark.parametrize("net", [{}, {"head": "independent", "critic": "own"}])
@pytest.mark.parametrize("params", [{}, {"death_mode": "remove", "reward_mode": "credit"}])
def test_the_first_probability_ratio_is_one(net: dict[str, Any], params: dict[str, Any]) -> None:
    model = small_team(net=net, **params)
    policy: Any = model.policy
    for batch in model.rollout_buffer.get(4):
        seen: Any = batch.observations
        values, log_prob, entropy = policy.evaluate_actions(seen, batch.actions)
        torch.testing.assert_close(log_prob, batch.old_log_prob, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(values, batch.old_values, atol=1e-4, rtol=1e-4)
        assert torch.isfinite(entropy).all()
    assert flat_table(model)["log_probs"].std() > 0.1


def test_an_update_moves_actor_and_critic() -> None:
    model = small_team()
    before = {k: v.clone() for k, v in model.policy.state_dict().items()}
    del model.train
    model.learn(3 * 4 * 12 * 2)
    after: dict[str, Tensor] = dict(model.policy.state_dict())
    still = [k for k in before if torch.equal(before[k], after[k])]
    assert still == []
    assert all(torch.isfinite(v).all() for v in after.values())


OTHER_SIZES = [{"num_agents": 16, "num_regions": 8}, {"num_agents": 3, "num_regions": 2}]


def test_a_written_team_plays_in_the_central_view_with_any_numbers(tmp_path: Path) -> None:
    model = small_team()
    kwargs = {**BRISK, "mask_in_obs": True, "num_agents": 4, "num_regions": 3}
    path = save_policy(export_policy(model), tmp_path / "team", env=ID, env_kwargs=kwargs)
    for sizes in ({"num_agents": 4, "num_regions": 3}, *OTHER_SIZES):
        params = {**BRISK, **sizes, "mask_in_obs": True, "max_episode_steps": 5}
        rewards = []
        for joint in ("dict", None):
            env = make_rows(ID, 3, {**params, "joint": joint})
            player: Any = load_policy(path, system=env.system)
            rewards.append(rollout(env, player, np.arange(3), deterministic=False).reward)
        np.testing.assert_allclose(rewards[0], rewards[1], rtol=1e-5)


# -------------------------------------------------------------------------------- configurations

NAMES = ("mappo", "ippo", "ppo", "ppo_discrete")


def tiny(name: str) -> TrainConfig:
    """A shipped configuration, for a few slots."""
    return TrainConfig.load(
        f"twin_mobility/{name}",
        [
            "num_envs=2",
            "seeds=[1]",
            "hyperparameters.n_steps=6",
            "hyperparameters.batch_size=12",
            "hyperparameters.n_epochs=2",
            "total_steps=192",
            "evaluation.episodes=2",
            "evaluation.baselines=[]",
            "env_kwargs.max_episode_steps=9",
            "env_kwargs.compile=false",
        ],
    )


@pytest.mark.parametrize("name", NAMES)
def test_shipped_configuration_trains_writes_and_plays(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sixgym.agents.train.learning_curve", lambda path, *_: path)
    check(TrainConfig.load(f"twin_mobility/{name}"))
    (run,) = train(tiny(name), output=tmp_path)
    assert len(run.curve) >= 2
    env = make_rows(ID, 2, {"mask_in_obs": True, "max_episode_steps": 4})
    if name == "ppo_discrete":
        env = make_rows(ID, 2, {"action_mode": "discrete", "max_episode_steps": 4})
    player: Any = load_policy(run.folder, system=env.system)
    assert rollout(env, player, np.arange(2)).length.tolist() == [4, 4]


def test_a_shared_policy_gives_every_agent_what_it_would_alone(tmp_path: Path) -> None:
    """One controller sees blocks; each agent is handed its own view of them, with its masks."""
    config = tiny("ppo")
    model = make_model(config, 0, make_env(config))
    policy: Any = export_policy(model)
    assert policy.seats == 8
    env: Any = make_rows(ID, 3, {"mask_in_obs": True})
    observation, _ = env.reset(seed=0)
    joint, _ = policy.predict(observation)
    assert env.action_space.contains(joint)
    seen = env.system.perceive(env.rows.state, {})
    each = {k.partition(".")[2]: v.flatten(0, 1).numpy() for k, v in seen.items()}
    alone, _ = model.predict(each, deterministic=True)
    np.testing.assert_allclose(joint.reshape(24, -1), alone, atol=1e-5)
    one, _ = policy.predict(observation[0])
    np.testing.assert_allclose(one, joint[0], atol=1e-6)
    path = save_policy(policy, tmp_path / "p", env=ID, env_kwargs={"mask_in_obs": True})
    again: Any = load_policy(path)
    np.testing.assert_array_equal(again.predict(observation)[0], joint)
    with pytest.raises(PolicyError, match="policy of 8 agents of one kind; TwinSync: 3 agent"):
        load_policy(path, system=twins(num_agents=3))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["normalize.observation=true"], "normalize.observation=True: allowed with policy='Hybr"),
        (["policy=MultiInputPolicy"], "prior=.*: allowed with policy='HybridPolicy'"),
        (["env_kwargs.mask_in_obs=false"], "policy='HybridPolicy': allowed for the observations"),
        (["algorithm=sac"], "policy='HybridPolicy'"),
    ],
)
def test_what_a_hybrid_policy_cannot_train_on_is_refused(
    overrides: list[str], message: str
) -> None:
    if overrides == ["algorithm=sac"]:
        overrides = [*overrides, "hyperparameters={}"]
    with pytest.raises((ConfigError, PolicyError), match=message):
        check(TrainConfig.load("twin_mobility/ppo", overrides))

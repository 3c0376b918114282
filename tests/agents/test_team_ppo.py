"""PPO of a whole team: what SB3's loop is given, what comes out of it, and what is shipped."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecNormalize
from team_cases import (
    ID,
    STORMY,
    cell,
    flat_table,
    opinionated,
    sights,
    small_team,
    team_config,
    uniforms,
)
from torch import Tensor

from sixgym.agents import checkpoint, export_policy, load_policy, save_policy
from sixgym.agents.callbacks import Boundary
from sixgym.agents.config import TrainConfig
from sixgym.agents.evaluate import Evaluator
from sixgym.agents.policies import TeamArchitecture
from sixgym.agents.team.nets import ALIVE
from sixgym.agents.team.player import TeamPlayer
from sixgym.agents.team.policy import MAPPO, TeamPolicy
from sixgym.agents.team.registry import notes_of
from sixgym.agents.train import RunResult, check, make_env, make_model, train
from sixgym.baselines.llm_mac.one_slot import OneSlot
from sixgym.envs.core.errors import ConfigError, PolicyError, SixgymError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.rollout import rollout
from sixgym.envs.core.sb3_view import make_vec_env
from sixgym.envs.core.team_sb3 import ASKS, PRESENT, make_team_vec_env
from sixgym.envs.llm_mac import LlmMac
from sixgym.leaderboard.claims.llm_mac_exact import pair_of, worth
from sixgym.leaderboard.players import Member, Player, find_player
from sixgym.leaderboard.runner import make_rows, play, task_of

pytestmark = pytest.mark.filterwarnings(
    # SB3 counts pairs where a minibatch counts rows.
    "ignore:You have specified a mini-batch size",
    "ignore:.torch.jit.script. is deprecated",
)


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The learning curve takes half of the time of such small trainings."""
    monkeypatch.setattr("sixgym.agents.train.learning_curve", lambda path, *_: path)


def rolled_out(**changes: Any) -> MAPPO:
    """A model that has collected one rollout and learned nothing from it."""
    model = small_team(**changes)
    opinionated(model.policy)
    train_nothing = lambda: None  # noqa: E731
    model.train = train_nothing  # type: ignore[method-assign]
    model.learn(1)
    return model


# ------------------------------------------------------------------------------------- the rollout

FORMS: dict[str, dict[str, Any]] = {
    "pointer": {},
    "own critic": {"net": {"critic": "own"}},
    "mean ratio": {"net": {"ratio": "mean"}},
    "autoregressive": {
        "env_bs_action": "multi",
        "env_pag_level": 1,
        "net": {"head": "autoregressive", "sharing": "none"},
    },
    "flat": {
        "env_bs_action": "multi",
        "env_pag_level": 1,
        "net": {"net": "mac_flat", "width": 8},
    },
    "users": {"env_role": "follower"},
    "base station": {"env_role": "leader"},
}


def model_of(name: str) -> MAPPO:
    """A rollout of a form."""
    changes = dict(FORMS[name])
    if name == "flat":
        params = {**STORMY, "max_episode_steps": 7}
        env = make_team_vec_env(ID, 3, seed=0, **params)
        brief = {"n_steps": 5, "batch_size": 4, "n_epochs": 2, "seed": 0, "device": "cpu"}
        model = MAPPO("TeamPolicy", env, policy_kwargs=changes["net"], **brief)  # type: ignore[arg-type]
        opinionated(model.policy)
        model.train = lambda: None  # type: ignore[method-assign]
        model.learn(1)
        return model
    return rolled_out(**changes)


@pytest.mark.parametrize("name", FORMS)
def test_the_first_probability_ratio_is_one(name: str) -> None:
    """What the minibatches hand out is, in order, what the policy returns for them."""
    model = model_of(name)
    policy: Any = model.policy
    met = 0
    for batch in model.rollout_buffer.get(4):
        seen: Any = batch.observations
        values, log_prob, entropy = policy.evaluate_actions(seen, batch.actions)
        assert len(log_prob) == int((seen[PRESENT] > 0).sum()) == len(batch.advantages)
        torch.testing.assert_close(log_prob, batch.old_log_prob, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(values, batch.old_values, atol=2e-5, rtol=1e-4)
        assert torch.isfinite(entropy).all()
        met += len(log_prob)
    table = flat_table(model)
    assert met == int(table["seen.present"].sum())
    assert met < table["values"].size or name == "base station", "seats were empty"


def test_minibatches_have_whole_rows_and_every_pair_that_was_there_once() -> None:
    model = rolled_out(n_steps=6)
    table = flat_table(model)
    buffer: Any = model.rollout_buffer
    # Mark every pair by a number of its own.
    number = np.arange(buffer.returns.size, dtype=np.float32).reshape(buffer.returns.shape)
    buffer.returns = number
    there = table["seen.present"][..., 0].astype(bool)
    orders = []
    for _ in range(2):
        sizes, met = [], []
        for batch in model.rollout_buffer.get(4):
            rows = batch.observations[PRESENT].reshape(-1, buffer.seats)  # type: ignore[call-overload]
            sizes.append(len(rows))
            met += batch.returns.tolist()
        assert sizes == [4, 4, 4, 4, 2], "18 slots of a row"
        wanted = number.reshape(there.shape)[there]
        assert sorted(met) == sorted(wanted.tolist())
        orders.append(met)
    assert orders[0] != orders[1]
    whole = next(model.rollout_buffer.get(None))
    assert len(whole.returns) == int(there.sum())


def test_a_minibatch_without_anybody_is_left_out() -> None:
    """A mean of nothing would turn the network into no number."""
    quiet = {"env_role": "follower", "env_n_lo": 0, "env_n_hi": 1, "env_p_join": 0.05}
    model = small_team(rows=4, **quiet, env_p_leave=0.9, n_steps=12, batch_size=2)
    model.learn(4 * 12 * 4 * 3)
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())
    batches = list(model.rollout_buffer.get(2))
    assert len(batches) < 24
    assert all(len(b.returns) for b in batches)


def test_advantages_are_normalised_within_each_group() -> None:
    model = rolled_out(rows=6, n_steps=9)
    table, game = flat_table(model), model.policy.game  # type: ignore[union-attr]
    there = table["seen.present"][..., 0] > 0
    raw = table["returns"] - table["values"]
    for group in game.groups:
        seats = game.seats[group.name]
        own, before = table["advantages"][:, :, seats], raw[:, :, seats]
        own, before = own[there[:, :, seats]], before[there[:, :, seats]]
        assert own.mean() == pytest.approx(0.0, abs=1e-5)
        assert own.std() == pytest.approx(1.0, abs=1e-4)
        np.testing.assert_allclose(own, (before - before.mean()) / before.std(), atol=1e-3)
    assert not np.allclose(raw[..., 0].std(), raw[..., 1:][there[..., 1:]].std(), rtol=0.05)


def test_returns_are_of_ones_own_stay() -> None:
    """Generalised advantages by hand: nothing flows over the end of a stay or to another seat."""
    model = rolled_out(rows=4, n_steps=9, gamma=0.9, gae_lambda=0.8)
    table = flat_table(model)
    last = model.policy.predict_values(model.policy.obs_to_tensor(model._last_obs)[0])
    assert last.shape == (20, 1)
    rewards, values, starts = (table[k] for k in ("rewards", "values", "starts"))
    ends = np.concatenate([starts[1:], model._last_episode_starts.reshape(1, 4, 5)])  # type: ignore[union-attr]
    total = np.zeros((4, 5))
    for t in reversed(range(8)):  # the last slot's next value is sampled
        advantage = table["returns"][t] - values[t]
        later = table["returns"][t + 1] - values[t + 1]
        go = 1.0 - ends[t]
        total = rewards[t] + 0.9 * values[t + 1] * go - values[t] + 0.9 * 0.8 * go * later
        np.testing.assert_allclose(advantage, total, atol=1e-4)
    assert ends[:, :, 1:].sum() > 12


def test_at_the_time_limit_each_is_paid_the_value_of_its_own_seat() -> None:
    model = rolled_out(rows=3, n_steps=9, gamma=0.9)
    policy: Any = model.policy
    table = flat_table(model)
    twin = make_team_vec_env(
        ID, 3, seed=0, **{**STORMY, "bs_action": "pointer", "pag_level": 2, "max_episode_steps": 7}
    )
    twin.seed(0)
    twin.reset()
    met = 0
    for t in range(9):
        _, paid, _, infos = twin.step(table["actions"][t].reshape(15, -1).astype(np.int64))
        extra = table["rewards"][t].flatten() - paid
        for i, info in enumerate(infos):
            if not info.get("TimeLimit.truncated"):
                assert extra[i] == pytest.approx(0.0, abs=1e-6)
                continue
            met += 1
            row = {k: torch.as_tensor(v) for k, v in info["terminal_observation"].items()}
            if i % 5 == 0:  # of the users' it matters what the base station would say
                whole = policy._seen(row)
                value = policy.critic(whole, whole)[0, 0]
                assert extra[i] == pytest.approx(0.9 * value.item(), abs=1e-4)
            else:
                assert abs(extra[i]) > 1e-6
    assert met >= 6


def test_with_a_finite_horizon_nothing_is_added_at_the_limit() -> None:
    config = team_config(finite_horizon=True)
    model = make_model(config, 0, make_env(config))
    assert model.get_env().unwrapped._finite_horizon is True  # type: ignore[union-attr, attr-defined]


def test_values_of_pairs_that_ask_are_theirs_alone() -> None:
    model = small_team(env_role="leader", env_population="fixed", env_num_users=2)
    policy: Any = opinionated(model.policy)
    system = model.policy.game  # type: ignore[union-attr]
    seen = sights(system, rows=6)
    pairs = {k: v for k, v in seen.items() if k != ALIVE}
    pairs |= {PRESENT: seen[ALIVE], ASKS: torch.zeros(6, 1)}
    flat = {k: v.flatten(0, 1) if v.dim() > 2 else v for k, v in pairs.items()}
    whole = policy.predict_values(flat)
    assert whole.shape == (6, 1)
    flat[ASKS][[1, 4]] = 1.0
    torch.testing.assert_close(policy.predict_values(flat), whole[[1, 4]])


def test_of_a_whole_row_only_the_seat_that_asks_is_answered() -> None:
    model = rolled_out()
    policy: Any = model.policy
    last: Any = model._last_obs
    row = {k: torch.as_tensor(v[5:10].copy()) for k, v in last.items()}
    row[PRESENT][:] = 1.0
    row[ASKS][0] = 1.0
    seen = policy._seen(row)
    want = policy.critic(seen, seen)[0, 0]
    assert policy.predict_values(row).shape == (1, 1)
    assert policy.predict_values(row).item() == pytest.approx(want.item(), abs=1e-5)


def test_a_shared_ratio_is_of_the_mean_over_those_who_are_there() -> None:
    own, shared = (
        rolled_out(net={"ratio": ratio}, rows=4, n_steps=6) for ratio in ("agent", "mean")
    )
    a, b = flat_table(own), flat_table(shared)
    assert np.array_equal(a["actions"], b["actions"])
    there = a["seen.present"][..., 0]
    mean = (a["log_probs"] * there).sum(2, keepdims=True) / there.sum(2, keepdims=True)
    np.testing.assert_allclose(b["log_probs"], mean * there, atol=1e-5)
    assert not np.allclose(a["log_probs"], b["log_probs"])


def test_values_and_log_probabilities_of_empty_seats_are_zero() -> None:
    table = flat_table(rolled_out(n_steps=8))
    empty = table["seen.present"][..., 0] == 0
    assert empty.any()
    assert not table["values"][empty].any()
    assert not table["log_probs"][empty].any()
    assert not table["rewards"][empty].any()


# ---------------------------------------------------------------------------------------- learning


def test_the_one_slot_game_is_learned_in_seconds() -> None:
    """From chance to above 2.5, where the equilibrium has 2.9: exact values, 2 users.

    Uniform moves are worth 4 * 4/9 - 1 (one of two sends alone) - 2/30 (grants) - 2/3 (deletes).
    """
    config = TrainConfig.load(
        "llm_mac/one_slot",
        [
            "env_kwargs.population=fixed",
            "env_kwargs.num_users=2",
            "env_kwargs.n_max=2",
            "num_envs=128",
            "total_steps=23040",
            "hyperparameters.batch_size=256",
            "hyperparameters.n_epochs=6",
            "hyperparameters.learning_rate=lin_1e-2",
            "hyperparameters.policy_kwargs.sizes.width=16",
        ],
    )
    model = make_model(config, 0, make_env(config))

    def value() -> float:
        policy: Any = export_policy(model)
        played = Member(lambda system: policy)
        return worth(pair_of_two(played), OneSlot(num_users=2)).value

    assert value() == pytest.approx(0.044, abs=0.1)
    model.learn(config.total_steps)
    assert value() > 2.5


def pair_of_two(member: Member) -> Any:
    """`pair_of` where the cell has two seats, as the small training."""
    from sixgym.leaderboard.claims import llm_mac_exact

    system = llm_mac_exact.cell(2, n_max=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llm_mac_exact, "cell", lambda n: system)
        return pair_of(member, 2)


# ------------------------------------------------------------------------------------- the player


def team_actor_agrees(model: MAPPO, player: TeamPlayer, rows: int = 16) -> None:
    """The same sight and the same numbers make the same moves."""
    trained: Any = model.policy
    seen = sights(trained.game, rows=rows)
    uniform = uniforms(rows, trained.actor.num_uniforms)
    for deterministic in (False, True):
        with torch.no_grad():
            a = trained.actor.act(seen, uniform, deterministic)
            b = player.actor.act(seen, uniform, deterministic)
        assert all(torch.equal(a.moves[k], b.moves[k]) for k in a.moves)
        assert torch.equal(a.log_prob, b.log_prob)


@pytest.mark.parametrize("name", FORMS)
def test_a_written_and_read_team_acts_as_the_model(name: str, tmp_path: Path) -> None:
    model = model_of(name)
    params = {**STORMY}
    params |= {k[4:]: v for k, v in FORMS[name].items() if k.startswith("env_")}
    if name != "flat":
        params = {"bs_action": "pointer", "pag_level": 2, **params}
    path = save_policy(export_policy(model), tmp_path / "team", env=ID, env_kwargs=params)
    player: Any = load_policy(path)
    assert isinstance(player, TeamPlayer)
    assert player.card is not None
    assert isinstance(player.card.architecture, TeamArchitecture)
    assert not any(p.requires_grad for p in player.parameters())
    assert not [k for k in player.state_dict() if "critic" in k], "the critic is not shipped"
    team_actor_agrees(model, player)


@pytest.mark.parametrize("joint", ["dict", None])
def test_a_player_moves_as_its_actor_whatever_the_layout(joint: Any) -> None:
    """The numbers are those of row seed, episode and step; the alive flags come along."""
    actor: Any = opinionated(export_policy(rolled_out()))
    env = make_rows(ID, 4, {**STORMY, "joint": joint, "bs_action": "multi"})
    player = TeamPlayer(actor.architecture, env.system)
    player.load_state_dict(actor.state_dict())
    player.attach(env)
    observation, _ = env.reset(seed=[5, 6, 7, 8])
    for _ in range(3):
        state = env.rows.state
        game: Any = env.system
        seen = {**game.perceive(state, {}), ALIVE: game.alive(state).to(torch.float32)}
        coins = torch.from_numpy(player._coins(4)).to(torch.float32)
        for deterministic in (False, True):
            action, _ = player.predict(observation, deterministic=deterministic)
            want = player.actor.act(seen, coins, deterministic).moves
            got = game.moves(as_tensors(action))
            assert all(torch.equal(got[k], want[k]) for k in want)
        observation, *_ = env.step(action)


@pytest.mark.parametrize("joint", ["dict", None])
def test_where_nobody_comes_or_goes_all_are_there(joint: Any) -> None:
    actor: Any = export_policy(small_team())
    for params, n in (({"population": "fixed", "num_users": 4}, 4), (STORMY, 3)):
        env = make_rows(ID, 8, {**params, "n_max": 4, "joint": joint})
        player = TeamPlayer(actor.architecture, env.system)
        observation, _ = env.reset(seed=0)
        alive = player._seen(observation)[ALIVE]
        want: Any = env.system.alive(env.rows.state)  # type: ignore[attr-defined]
        assert torch.equal(alive > 0, want)
        assert int(alive.sum(1).max()) == 1 + n


def as_tensors(action: Any) -> Any:
    """Arrays as tensors."""
    if isinstance(action, dict):
        return {k: torch.as_tensor(v) for k, v in action.items()}
    return torch.as_tensor(action)


def test_an_episode_is_the_same_wherever_it_is_played() -> None:
    """Sampled moves are a function of the row's seed: batches of any size and order."""
    policy: Any = opinionated(export_policy(small_team()))
    played: list[Any] = []
    for rows, seeds in ((4, [3, 4, 5, 6]), (2, [5, 6]), (1, [4])):
        env = make_rows(ID, rows, {**STORMY, "max_episode_steps": 12})
        player = TeamPlayer(policy.architecture, env.system)
        player.load_state_dict(policy.state_dict())
        played.append(rollout(env, player, np.array(seeds), deterministic=False).reward)
    assert played[0][2:].tolist() == pytest.approx(played[1].tolist(), abs=1e-5)
    assert played[0][1] == pytest.approx(played[2][0], abs=1e-5)


def test_a_policy_for_any_number_plays_with_other_numbers_of_seats(tmp_path: Path) -> None:
    path = save_policy(
        export_policy(rolled_out()),
        tmp_path / "p",
        env=ID,
        env_kwargs={**STORMY, "bs_action": "pointer", "pag_level": 2},
    )
    for params in (
        {"n_max": 9, "num_users": 9, "population": "fixed", "bs_action": "pointer"},
        {"n_max": 2, "num_users": 1, "population": "fixed", "bs_action": "multi"},
    ):
        for joint in ("dict", None):
            env = make_rows(ID, 3, {**params, "joint": joint, "max_episode_steps": 5})
            player: Any = load_policy(path, system=env.system)
            episodes = rollout(env, player, np.arange(3), deterministic=False)
            assert episodes.length.tolist() == [5, 5, 5]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = small_team(net={"sharing": "none"})
    path = tmp_path_factory.mktemp("team") / "p"
    kwargs = {**STORMY, "bs_action": "pointer", "pag_level": 2}
    return save_policy(export_policy(model), path, env=ID, env_kwargs=kwargs)


def copied(written: Path, tmp_path: Path, **architecture: Any) -> Path:
    """A copy whose card says something else."""
    target = tmp_path / "q.safetensors"
    target.write_bytes(written.read_bytes())
    card = json.loads(written.with_suffix(".json").read_text())
    card["architecture"] |= architecture
    target.with_suffix(".json").write_text(json.dumps(card))
    return target


def sizes_with(**more: Any) -> dict[str, Any]:
    return {"sizes": {"width": 8, "heads": 2, "sharing": "none", **more}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net": "mac_sets"}, "net='mac_sets': allowed: mac_flat, mac_set, mac_token"),
        ({"net": 3}, "not a policy card: architecture.net"),
        (sizes_with(width=12), r"is \(.*\) torch.float32; allowed: \("),
        (sizes_with(blocks=2), "missing or unknown tensors: actor.seats.blocks.1"),
        (sizes_with(sharing="all"), "missing or unknown tensors: actor.user"),
        (sizes_with(depth=2), "unexpected keyword argument 'depth'"),
        (sizes_with(width="8"), "width='8': allowed: integers from 1"),
        (sizes_with(head="autoregressive"), "allowed with bs_action='pointer': pointer"),
        ({"hidden": [3]}, "not a policy card: architecture.hidden"),
        ({"net": "mac_flat", "sizes": {}}, "bs_action='pointer': allowed: 'all', 'multi'"),
    ],
)
def test_cards_that_do_not_fit_are_refused_in_one_line(
    changes: dict[str, Any], message: str, written: Path, tmp_path: Path
) -> None:
    with pytest.raises(PolicyError, match=message) as caught:
        load_policy(copied(written, tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_altered_weights_and_other_systems_are_refused(written: Path, tmp_path: Path) -> None:
    path = copied(written, tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(PolicyError, match="truncated or altered"):
        load_policy(path)
    for params, words in (
        ({"n_max": 6}, "actor.user"),  # everybody has a network of its own, for 4 seats
        ({"history": 1}, "actor.seats.first.0.weight"),
        ({"role": "follower"}, "missing or unknown tensors"),
    ):
        system = make_system(LlmMac, bs_action="pointer", **{**STORMY, **params})
        with pytest.raises(PolicyError, match=words):
            load_policy(written, system=system)
    from toy_games import Grant
    from toy_systems import Counter

    with pytest.raises(PolicyError, match="Counter: allowed for a team: a game"):
        load_policy(written, system=make_system(Counter))
    with pytest.raises(PolicyError, match="Grant: allowed: the system of sixgym/LlmMac-v0"):
        load_policy(written, system=make_system(Grant))


# --------------------------------------------------------------------------- evaluated by sampling


class Witness:
    """Remembers whether it was asked for its best action."""

    def __init__(self, system: Any) -> None:
        self.game, self.asked = system, []

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> Any:
        self.asked.append(deterministic)
        return np.zeros((len(episode_start), *self.game.action_space.shape), np.int64), None


@pytest.mark.parametrize("member", [False, True])
@pytest.mark.parametrize("asked", [False, True])
def test_who_is_meant_to_be_sampled_is_sampled(member: bool, asked: bool) -> None:
    """And whoever asks for samples gets them of everybody."""
    made: list[Witness] = []

    def make(system: Any) -> Any:
        made.append(Witness(system))
        return made[-1]

    task = task_of(
        ID, episodes=3, params={"role": "follower", "n_max": 2, "population_sizes": (2,)}
    )
    card = find_player(ID, "random").card
    play(task, Player(card, [Member(make, deterministic=member)]), deterministic=asked)
    assert set(made[0].asked) == {asked and member}


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_card_tells_how_its_training_evaluated_it(deterministic: bool, tmp_path: Path) -> None:
    about = {"name": "x/0", "config": {"evaluation": {"deterministic": deterministic}}}
    kwargs = {**STORMY, "bs_action": "pointer", "pag_level": 2}
    path = save_policy(
        export_policy(small_team()), tmp_path / "p", env=ID, env_kwargs=kwargs, about=about
    )
    (member,) = find_player(ID, str(path)).members
    assert member.deterministic is deterministic


# -------------------------------------------------------------------------------- configurations


def test_a_whole_training_writes_what_it_played(tmp_path: Path) -> None:
    config = team_config()
    (result,) = train(config, output=tmp_path)
    assert result.steps == 360
    with (result.folder / "evaluations.csv").open() as file:
        assert [r["step"] for r in csv.DictReader(file)] == ["0", "90", "180", "270", "360"]
    player: Any = load_policy(result.folder)
    assert player.name == "team/0"
    evaluator = Evaluator(config)
    again = evaluator(player)
    assert again["mean_return"] == pytest.approx(result.best["mean_return"])
    (member,) = find_player(ID, str(result.folder)).members
    assert member.deterministic is False
    assert member.training_steps == 360


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net": "mac_sets"}, "net='mac_sets': allowed: mac_flat, mac_set, mac_token"),
        ({"sizes": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        ({"sizes": {"width": "wide"}}, "width='wide': allowed: integers from 1"),
        ({"sizes": {"head": "pointers"}}, "head='pointers': allowed: pointer, autoreg"),
        ({"sizes": {"level": 9}}, "level=9"),
        ({"net": "mac_flat", "sizes": {}}, "bs_action='pointer'"),
        ({"env": "toy/Counter-v0", "env_kwargs": {}}, "allowed: a game"),
        ({"normalize": {"observation": True}}, "normalize.observation=True: allowed with"),
        ({"shared": True}, "shared=True: allowed with algorithm='mappo': False"),
        ({"hyperparameters": {"policy_kwargs": {}}}, "hyperparameters.policy_kwargs.net: missing"),
        ({"hyperparameters": {"mixing": {"largest": 2.0}}}, "hyperparameters.mixing.largest"),
        ({"hyperparameters": {"batch_size": 19}}, "at most n_steps x num_envs = 18"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    changes: dict[str, Any], message: str
) -> None:
    import agent_cases  # noqa: F401  (registers a toy that is no game)

    with pytest.raises(SixgymError) as caught:
        check(team_config(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_normalised_flags_and_other_rows_are_refused() -> None:
    """Divided by their deviation, the flags of who is there would say that nobody is."""
    env = make_team_vec_env(ID, 2, **STORMY, bs_action="pointer")
    with pytest.raises(PolicyError, match="norm_obs=True"):
        MAPPO("TeamPolicy", VecNormalize(env), policy_kwargs={"net": "mac_set"})
    with pytest.raises(PolicyError, match="SixgymSB3VecEnv: allowed for MAPPO: TeamVecEnv"):
        MAPPO("TeamPolicy", make_vec_env(ID, 2), policy_kwargs={"net": "mac_set"})
    model = MAPPO(TeamPolicy, VecNormalize(env, norm_obs=False), policy_kwargs={"net": "mac_set"})
    assert isinstance(model.policy, TeamPolicy)


def test_networks_tell_the_notes_that_they_take() -> None:
    assert notes_of(ID, "mac_set", {"width": 8}, {"preset": None}).columns == 0
    with pytest.raises(ConfigError, match="net='x'"):
        notes_of(ID, "x", {}, {})


# ------------------------------------------------------------------------------------------ resume


class PowerCutError(Exception):
    """What interrupts a training in these tests."""


def cut(monkeypatch: pytest.MonkeyPatch, at_step: int, run: Any) -> None:
    """Run something that is cut off in the middle of the rollout that reaches a step."""

    def on_step(self: Boundary) -> bool:
        if self.num_timesteps >= at_step:
            raise PowerCutError
        return True

    with monkeypatch.context() as patch:
        patch.setattr(Boundary, "_on_step", on_step)
        with pytest.raises(PowerCutError):
            run()


MIXED: dict[str, Any] = {
    "sizes": {"width": 8, "heads": 2, "level": 2, "sharing": "none"},
    "hyperparameters": {"mixing": {"segments": 3, "every": 2}, "learning_rate": "lin_1e-3"},
    "normalize": {"reward": True},
    "checkpoint": {"every": 90},
}


@pytest.mark.parametrize("changes", [{}, MIXED], ids=["plain", "mixing"])
def test_a_resumed_team_is_the_uninterrupted_one(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mixed every second update, cut off after an odd number of them."""
    config = team_config(**changes)
    (whole,) = train(config, output=tmp_path / "whole")
    cut(monkeypatch, 290, lambda: train(config, output=tmp_path / "cut"))
    (resumed,) = train(config, output=tmp_path / "cut", resume=True)
    a, b = end(whole), end(resumed)
    assert a.values == b.values
    assert a.tensors.keys() == b.tensors.keys()
    assert [k for k in a.tensors if not torch.equal(a.tensors[k], b.tensors[k])] == []
    assert whole.curve == resumed.curve
    assert whole.policy.read_bytes() == resumed.policy.read_bytes()


def end(result: RunResult) -> checkpoint.Snapshot:
    """The final state without wall times."""
    found = checkpoint.read(result.folder / "checkpoints", "last")
    del found.values["boundary"]["seconds"]
    for episode in found.values["episodes"]:
        del episode["t"]
    for clock in ("time/fps", "time/time_elapsed"):
        found.values["log"].pop(clock, None)
    return found


def test_training_moves_actor_and_critic() -> None:
    model = small_team(rows=4, n_steps=6)
    before = {k: v.clone() for k, v in model.policy.state_dict().items()}
    model.learn(4 * 5 * 6 * 2)
    after: dict[str, Tensor] = dict(model.policy.state_dict())
    still = {k.split(".")[0] for k in before if torch.equal(before[k], after[k])}
    assert still <= {"actor"}, "biases of the attention's keys have no gradient"
    assert all(torch.isfinite(v).all() for v in after.values())
    assert cell(**STORMY).num_seats == 5

"""All agents of a game as SB3's environments, and what a policy knows without a state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pettingzoo.env_registry import registration
from torch import Tensor
from toy_games import Crowd, Drones, Grant
from toy_systems import Counter

from sixgym.envs.core import registry
from sixgym.envs.core.conformance.subject import row, stack
from sixgym.envs.core.errors import ActionError, OptionsError, StateError
from sixgym.envs.core.game import ALIVE, Game, GameStep, Group
from sixgym.envs.core.make import make_system, make_vector_env
from sixgym.envs.core.pettingzoo_view import parallel_env
from sixgym.envs.core.team_sb3 import (
    ASKS,
    PRESENT,
    Notes,
    TeamVecEnv,
    action_columns,
    make_team_vec_env,
    pair_observation,
)
from sixgym.envs.llm_mac import LlmMac

LIMIT = 7
"""Slots of an episode here; no divisor of the steps that are played."""
STORMY = {"population": "birth_death", "p_join": 0.5, "p_leave": 0.5, "n_lo": 1, "n_hi": 3}
STORMY |= {"n_max": 4, "max_agents": 40}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "crowd": (Crowd, {}),
    "grant": (Grant, {}),
    "drones": (Drones, {}),
    "mac": (LlmMac, STORMY),
    "mac, delayed, pointers": (LlmMac, {**STORMY, "timing": "delayed", "bs_action": "pointer"}),
    "mac, level 2": (LlmMac, {**STORMY, "pag_level": 2}),
    "mac, level 3, history": (LlmMac, {**STORMY, "pag_level": 3, "history": 1}),
    "mac, users": (LlmMac, {**STORMY, "role": "follower"}),
    "mac, base station": (LlmMac, {**STORMY, "role": "leader"}),
}


@pytest.fixture(autouse=True)
def _games() -> Iterator[None]:
    kept = dict(registration.aec_registry), dict(registration.parallel_registry)
    for game in (Crowd, Grant, Drones):
        registry.register(f"toy/{game.__name__}-v0", game, max_episode_steps=20, is_game=True)
    yield
    for now, before in zip(
        (registration.aec_registry, registration.parallel_registry), kept, strict=True
    ):
        now.clear()
        now.update(before)


def rows_of(system: Any, rows: int = 2, **kwargs: Any) -> Any:
    """Rows as the team's view wants them."""
    chosen = {"max_episode_steps": LIMIT, "joint": "dict", **kwargs}
    return make_vector_env(system, rows, autoreset_mode="Disabled", **chosen)


def team(name: str, rows: int = 2, seed: int = 0, **kwargs: Any) -> TeamVecEnv:
    """The team's view of a case."""
    system, params = CASES[name]
    options = {k: kwargs.pop(k) for k in ("finite_horizon", "notes") if k in kwargs}
    view = TeamVecEnv(rows_of(system, rows, **params, **kwargs), **options)
    view.seed(seed)
    return view


def actions(view: TeamVecEnv, draw: np.random.Generator) -> Any:
    """A random action of every pair, all columns filled."""
    space: Any = view.action_space
    if isinstance(space, spaces.Box):
        found = draw.uniform(space.low, space.high, (view.num_envs, *space.shape))
        return found.astype(np.float32)
    return (draw.random((view.num_envs, len(space.nvec))) * space.nvec).astype(np.int64)


def own_move(view: TeamVecEnv, table: Any, pair: int) -> tuple[str, Any]:
    """The name of an agent by seat, and its part of an action."""
    game = view.game
    axis = pair % game.num_seats
    group = next(g for g in game.groups if axis in range(*game.seats[g.name].indices(10**6)))
    move = table[pair, action_columns(game)[group.name]]
    name = f"{group.name}_{axis - game.seats[group.name].start}"
    return name, move.reshape(group.action_space.shape or ())


# ------------------------------------------------------------------------------- against the views


@pytest.mark.parametrize("name", [n for n in CASES if n != "mac, delayed, pointers"])
def test_pairs_are_told_what_agents_by_name_are_told(name: str) -> None:
    """Sights, own rewards, ends: of every row its parallel view, seats for agents."""
    pairs = team(name)
    observation: Any = pairs.reset()
    system, params = CASES[name]
    views: Any = [
        parallel_env(system, max_episode_steps=LIMIT, fixed_agents=True, flatten=False, **params)
        for _ in range(2)
    ]
    first = pairs.seed(0)
    seen = [v.reset(seed=s) for v, s in zip(views, first, strict=True)]
    told = [(s[0], s[1]) for s in seen]
    draw = np.random.default_rng(1)
    seats, ends = pairs.game.num_seats, 0
    for _ in range(4 * LIMIT + 3):
        for i in range(pairs.num_envs):
            agent, _ = own_move(pairs, np.zeros((pairs.num_envs, 99)), i)
            assert_sight(pairs, observation, i, agent, told[i // seats])
        table = actions(pairs, draw)
        moves = dict(own_move(pairs, table, i) for i in range(seats))
        observation, rewards, dones, _ = pairs.step(table)
        for r, view in enumerate(views):
            moves = dict(own_move(pairs, table, r * seats + s) for s in range(seats))
            ids = view.game.agent_ids(view.table.rows.state)[0]
            for _ in view.game.turns:
                now, paid, over, late, infos = view.step(moves)
            told[r] = (now, infos)
            changed = (ids != view.game.agent_ids(view.table.rows.state)[0]).tolist()
            ended = any(over.values()) or any(late.values())
            for s, agent in enumerate(moves):
                assert rewards[r * seats + s] == np.float32(paid[agent])
                assert dones[r * seats + s] == (ended or changed[s])
            if ended:
                ends += 1
                told[r] = view.reset()
    assert ends >= 8


def assert_sight(pairs: TeamVecEnv, seen: Any, pair: int, agent: str, told: Any) -> None:
    """A pair sees its agent's own parts, and zeros for all others'."""
    observations, infos = told
    group = agent.partition("_")[0]
    own = observations[agent]
    own = own["observation"] if isinstance(own, dict) and "observation" in own else own
    parts = {f"{group}.{k}": v for k, v in own.items()} if isinstance(own, dict) else {group: own}
    assert seen[PRESENT][pair] == infos[agent]["active"]
    assert seen[ASKS][pair] == 0.0
    for key in set(seen) - {PRESENT, ASKS}:
        want = parts.get(key, np.zeros_like(seen[key][pair]))
        assert np.array_equal(seen[key][pair], want), (agent, key)
    inside = {k: v[pair] for k, v in seen.items()}
    assert pairs.observation_space.contains(inside)


@pytest.mark.parametrize("joint", ["dict", "flat"])
@pytest.mark.parametrize("name", CASES)
def test_one_controller_lives_the_same_story(name: str, joint: str) -> None:
    """The joint action is the moves of all, in either layout; ends and restarts included."""
    system, params = CASES[name]
    pairs, draw = team(name, rows=3, seed=4), np.random.default_rng(2)
    try:
        central = make_vector_env(
            system, 3, max_episode_steps=LIMIT, autoreset_mode="SameStep", joint=joint, **params
        )
    except OptionsError:  # Discrete and MultiDiscrete do not lie in one MultiDiscrete
        assert joint == "flat"
        return
    game = cast("Game[Any, Any]", central.system)
    whole, _ = central.reset(seed=pairs.seed(4))  # type: ignore[arg-type]
    own: Any = pairs.reset()
    for _ in range(2 * LIMIT + 1):
        parts = game.seen(as_tensors(whole))
        for key in set(own) - {PRESENT, ASKS}:
            seats = pairs.game.seats[key.partition(".")[0]]
            by_row = own[key].reshape(3, pairs.game.num_seats, *own[key].shape[1:])
            assert np.array_equal(by_row[:, seats], parts[key].numpy())
        alive = parts.get(ALIVE, torch.ones(3, game.num_seats)).numpy()
        assert np.array_equal(own[PRESENT].reshape(3, -1), alive)
        table = actions(pairs, draw)
        moves = pairs_moves(pairs, table)
        own, rewards, dones, _ = pairs.step(table)
        action: Any = game.joint_action(moves)
        action = as_arrays(action)
        whole, _, over, late, infos = central.step(action)
        paid = np.asarray(infos["agent_reward"])
        ended = np.asarray(over) | np.asarray(late)
        if ended.any():
            paid = paid.copy()
            paid[ended] = np.asarray(infos["final_info"]["agent_reward"])[ended]
        there = alive > 0
        by_row = rewards.reshape(3, -1)
        assert np.array_equal(by_row[there], paid.astype(np.float32)[there])
        assert not by_row[~there].any()
        assert dones.reshape(3, -1)[ended].all()


def pairs_moves(pairs: TeamVecEnv, table: Any) -> dict[str, Tensor]:
    """The groups' moves in a table of actions, by hand."""
    found = {}
    for group in pairs.game.groups:
        axis = range(*pairs.game.seats[group.name].indices(10**6))
        rows = [
            [own_move(pairs, table, r * pairs.game.num_seats + s)[1] for s in axis]
            for r in range(pairs.env.num_envs)
        ]
        found[group.name] = torch.as_tensor(np.array(rows))
    return found


def as_tensors(value: Any) -> Any:
    """Arrays, or a dictionary of them, as tensors."""
    if isinstance(value, dict):
        return {k: torch.as_tensor(v) for k, v in value.items()}
    return torch.as_tensor(value)


def as_arrays(value: Any) -> Any:
    """The reverse of `as_tensors`."""
    return {k: v.numpy() for k, v in value.items()} if isinstance(value, dict) else value.numpy()


# ------------------------------------------------------------------------------- stays as episodes


def test_an_episode_of_a_pair_is_a_stay_and_empty_seats_are_paid_nothing() -> None:
    pairs = team("mac", rows=8, seed=1, max_episode_steps=60)
    pairs.reset()
    draw, game = np.random.default_rng(0), pairs.game
    ids = game.agent_ids(pairs.env.rows.state).flatten()
    total, length = np.zeros(pairs.num_envs), np.zeros(pairs.num_envs, dtype=int)
    joins = leaves = 0
    for t in range(60):
        _, rewards, dones, infos = pairs.step(actions(pairs, draw))
        was, now = ids >= 0, game.agent_ids(pairs.env.rows.state).flatten()
        assert not rewards[~was.numpy()].any()
        total, length = total + rewards, length + 1
        if t < 59:
            assert np.array_equal(dones, (ids != now).numpy()), "nothing else ends a stay"
            joins += int(((now >= 0) & (ids != now)).sum())
            leaves += int((was & (ids != now)).sum())
        else:
            assert dones.all()
        for i in np.flatnonzero(dones):
            assert ("episode" in infos[i]) == bool(was[i])
            if was[i]:
                assert infos[i]["episode"]["r"] == pytest.approx(total[i], abs=1e-4)
                assert infos[i]["episode"]["l"] == length[i]
            left = bool(ids[i] != now[i]) and t < 59
            assert not (left and infos[i]["TimeLimit.truncated"]), "who leaves is not cut off"
            total[i], length[i] = 0.0, 0
        assert all(not infos[i] for i in np.flatnonzero(~dones))
        ids = now
    assert joins > 20
    assert leaves > 20


class Generous(Crowd):
    """Pays whoever has left, and who never came."""

    def play(self, state: Any, moves: Any, noise: Any) -> tuple[Any, GameStep]:
        new, step = super().play(state, moves, noise)
        return new, step._replace(reward=torch.where(state.who < 0, 7.0, step.reward))


def test_what_a_game_says_of_nobody_is_not_paid() -> None:
    pairs, draw = TeamVecEnv(rows_of(Generous, 6)), np.random.default_rng(0)
    pairs.seed(0)
    pairs.reset()
    nobody = 0
    for _ in range(2 * LIMIT):
        empty = ~pairs.active
        _, rewards, *_ = pairs.step(actions(pairs, draw))
        assert not rewards[empty].any()
        assert rewards.max() <= 1.0
        nobody += int(empty.sum())
    assert nobody > 10


def test_the_time_limit_cuts_off_those_who_are_there_with_the_sight_of_all() -> None:
    pairs = team("mac", rows=2, seed=3)
    pairs.reset()
    draw, seats = np.random.default_rng(0), pairs.game.num_seats
    for _ in range(LIMIT - 1):
        pairs.step(actions(pairs, draw))
    table = actions(pairs, draw)
    twin = team("mac", rows=2, max_episode_steps=LIMIT + 1)
    twin.load_state_dict(pairs.state_dict())
    before = pairs.game.agent_ids(pairs.env.rows.state)
    last: Any = twin.step(table)[0]
    after = twin.game.agent_ids(twin.env.rows.state)
    _, _, dones, infos = pairs.step(table)
    assert dones.all()
    stays = ((before == after) & (before >= 0)).flatten().tolist()
    assert any(stays)
    assert not all(stays)
    for i, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is stays[i]
        final, first = info["terminal_observation"], i // seats * seats
        asks = np.zeros((seats, 1), np.float32)
        asks[i % seats] = 1.0
        assert np.array_equal(final[ASKS], asks), "one seat asks"
        for key in set(final) - {ASKS}:
            assert np.array_equal(final[key], last[key][first : first + seats]), key


def test_with_a_finite_horizon_nobody_is_cut_off() -> None:
    stories = {}
    for finite in (False, True):
        pairs, draw = team("mac", seed=3, finite_horizon=finite), np.random.default_rng(0)
        pairs.reset()
        told = [pairs.step(actions(pairs, draw)) for _ in range(2 * LIMIT)]
        stories[finite] = told
    for a, b in zip(*stories.values(), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a[1:3], b[1:3], strict=True))
        assert not any(info.get("TimeLimit.truncated") for info in b[3])
    cut = [info["TimeLimit.truncated"] for told in stories[False] for info in told[3] if info]
    assert any(cut)


def test_the_end_of_a_game_is_no_time_limit() -> None:
    """Grants end at random: then nobody bootstraps, whatever the limit says."""
    pairs, draw = team("grant", rows=64, max_episode_steps=400), np.random.default_rng(0)
    pairs.reset()
    ends = 0
    for _ in range(40):
        _, _, dones, infos = pairs.step(actions(pairs, draw))
        by_row = dones.reshape(64, -1)
        assert (by_row.all(1) == by_row.any(1)).all()
        ends += int(by_row.all(1).sum())
        assert not any(infos[i]["TimeLimit.truncated"] for i in np.flatnonzero(dones))
    assert ends >= 10


def test_who_is_there_is_an_attribute_of_each_pair() -> None:
    pairs = team("mac", rows=3)
    observation: Any = pairs.reset()
    there = observation[PRESENT][:, 0] > 0
    assert np.array_equal(pairs.active, there)
    assert pairs.get_attr("active", [0, 4]) == [bool(there[0]), bool(there[4])]
    assert not there.all()
    assert there[:: pairs.game.num_seats].all(), "the base station stays"


def test_statistics_are_promised_only_where_nobody_comes_or_goes() -> None:
    from stable_baselines3.common.monitor import Monitor

    assert team("grant").env_is_wrapped(Monitor) == [True] * 6
    assert team("crowd").env_is_wrapped(Monitor) == [False] * 6
    fixed = TeamVecEnv(rows_of(LlmMac, n_max=2, population="fixed", num_users=2))
    assert fixed.env_is_wrapped(Monitor) == [True] * 6


# ----------------------------------------------------------------------------- actions and spaces


def test_actions_stand_side_by_side_and_others_parts_do_not_count() -> None:
    pairs = team("grant")
    assert pairs.action_space == spaces.MultiDiscrete([2, 2, 2])
    assert action_columns(pairs.game) == {"bs": slice(0, 2), "ue": slice(2, 3)}
    assert team("drones").action_space == spaces.Box(-1.0, 1.0, (2,), np.float32)
    assert set(pair_observation(pairs.game)) == {"bs.wants", "bs.time", "ue", PRESENT, ASKS}
    pairs.reset()
    two = team("grant")
    two.reset()
    table = np.ones((6, 3), np.int64)
    other = table.copy()
    other[::3, 2] = 0  # of the leaders the followers' part
    other[1::3, :2] = other[2::3, :2] = 0
    for _ in range(5):
        a, b = pairs.step(table), two.step(other)
        assert np.array_equal(a[1], b[1])
        assert np.array_equal(a[0]["ue"], b[0]["ue"])  # type: ignore[index, call-overload]


def test_the_game_does_not_read_notes() -> None:
    plain, noted = team("mac", seed=2), team("mac", seed=2, notes=Notes(3, 5))
    assert noted.action_space.nvec.tolist() == [*plain.action_space.nvec, 5, 5, 5]  # type: ignore[attr-defined]
    plain.reset()
    noted.reset()
    draw = np.random.default_rng(0)
    for _ in range(2 * LIMIT):
        table = actions(noted, draw)
        a, b = plain.step(table[:, :-3]), noted.step(table)
        assert all(np.array_equal(a[0][k], b[0][k]) for k in a[0])  # type: ignore[index, call-overload]
        assert np.array_equal(a[1], b[1])


def test_a_saved_team_continues_identically() -> None:
    one, draw = team("mac", rows=3, seed=6), np.random.default_rng(0)
    one.reset()
    for _ in range(LIMIT + 3):
        one.step(actions(one, draw))
    two = team("mac", rows=3, seed=0)
    two.load_state_dict(one.state_dict())
    for _ in range(2 * LIMIT):
        table = actions(one, draw)
        a, b = one.step(table), two.step(table)
        assert all(np.array_equal(a[0][k], b[0][k]) for k in a[0])  # type: ignore[index, call-overload]
        assert all(np.array_equal(x, y) for x, y in zip(a[1:3], b[1:3], strict=True))
        assert untimed(a[3]) == untimed(b[3])


def untimed(infos: Any) -> list[Any]:
    """Statistics of the stays that ended, without wall times."""
    return [
        (i["TimeLimit.truncated"], i["episode"]["r"], i["episode"]["l"]) if "episode" in i else None
        for i in infos
    ]


class Mixed(Drones):
    """One who counts and one who steers."""

    def __init__(self, params: Any, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        box = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.set_groups((Group("drone", 2, box, box), Group("tower", 1, box, spaces.Discrete(2))))


class Counting(Drones):
    """Sees a number."""

    def __init__(self, params: Any, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        box = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.set_groups((Group("drone", 2, spaces.Discrete(3), box),))


def test_what_is_no_team_is_refused() -> None:
    with pytest.raises(OptionsError, match="allowed: a game"):
        make_team_vec_env("toy/Counter-v0", 2)
    with pytest.raises(OptionsError, match="allowed: a game"):
        TeamVecEnv(make_vector_env(Counter, 2))
    with pytest.raises(OptionsError, match="'Disabled'"):
        TeamVecEnv(make_vector_env(Crowd, 2, joint="dict"))
    with pytest.raises(OptionsError, match="joint='flat'"):
        TeamVecEnv(make_vector_env(Crowd, 2, joint="flat", autoreset_mode="Disabled"))
    with pytest.raises(OptionsError, match=r"Mixed: actions .* all discrete, or all Box"):
        TeamVecEnv(rows_of(Mixed))
    with pytest.raises(OptionsError, match=r"drone: observed as Discrete.*allowed for a team: Box"):
        TeamVecEnv(rows_of(Counting))
    with pytest.raises(OptionsError, match=r"notes=.*beside discrete actions only"):
        team("drones", notes=Notes(1, 2))


def test_wrong_actions_are_refused_and_change_nothing() -> None:
    pairs = team("mac")
    good = np.zeros((pairs.num_envs, 5), np.int64)
    with pytest.raises(StateError, match="before reset"):
        pairs.step(good)
    pairs.reset()
    saved = pairs.state_dict()
    high, user = good.copy(), good.copy()
    high[0, 0], user[1, 4] = 3, 6
    for bad in (high, user, good[:-1], good[:, :-1], good + 0.5, good[:, :, None][:, :0]):
        with pytest.raises(ActionError, match="actions"):
            pairs.step(bad)
    assert all(torch.equal(v, saved[k]) for k, v in pairs.state_dict().items())
    pairs.step(good)


# ------------------------------------------------------------------ what a policy knows by itself

HEARD: dict[str, dict[str, Any]] = {
    "default": {},
    "delayed": {"timing": "delayed"},
    "pointers": {"bs_action": "pointer"},
    "pointers, level 3": {"bs_action": "pointer", "pag_level": 3},
    **{f"level {level}": {"pag_level": level} for level in (-1, 0, 2, 3)},
    "history": {"history": 2, "pag_level": 2},
    "users alone": {"role": "follower"},
    "base station alone": {"role": "leader"},
    "opaque": {"opaque": True, "num_ucm": 4, "num_dcm": 5, "history": 1},
    "opaque, delayed": {"opaque": True, "num_ucm": 3, "timing": "delayed"},
}


@pytest.mark.parametrize("system", [Crowd, Grant, Drones])
def test_what_is_heard_needs_no_state_in_the_toys(system: Any) -> None:
    assert_heard(system, {})


@pytest.mark.parametrize("params", HEARD.values(), ids=HEARD)
def test_what_is_heard_needs_no_state(params: dict[str, Any]) -> None:
    """Any message, allowed or not: what the level forbids is not heard either."""
    assert_heard(LlmMac, {**STORMY, **params})


def assert_heard(system: Any, params: dict[str, Any]) -> None:
    chosen = {"max_episode_steps": LIMIT, "joint": "dict", **params}
    env = make_vector_env(system, 32, autoreset_mode="SameStep", **chosen)
    env.reset(seed=0)
    game, draw = cast("Game[Any, Any]", env.system), np.random.default_rng(3)
    for _ in range(12):
        state = env.rows.state
        moves = {k: torch.as_tensor(v) for k, v in sample(game, 32, draw).items()}
        told = dict(game.perceive(state, {}))
        kept = {k: v.clone() for k, v in told.items()}
        done: dict[str, Tensor] = {}
        for turn in game.turns:
            heard, seen = game.hear(told, done), game.perceive(state, done)
            assert heard.keys() == seen.keys()
            assert all(torch.equal(heard[k], seen[k]) for k in seen), turn
            done |= {k: v for k, v in moves.items() if k.partition(".")[0] in turn}
        heard, seen = game.hear(told, done), game.perceive(state, done)
        assert all(torch.equal(heard[k], seen[k]) for k in seen)
        assert all(torch.equal(told[k], kept[k]) for k in kept), "what came in is not changed"
        with torch.no_grad():
            env.step({k: v.numpy() for k, v in moves.items()})


def sample(game: Game[Any, Any], rows: int, draw: np.random.Generator) -> dict[str, Any]:
    """Moves of all from their spaces."""
    found = {}
    for group in game.groups:
        group.action_space.seed(int(draw.integers(2**31)))
        many = [group.action_space.sample() for _ in range(rows * group.seats)]
        joined: Any = stack(group.action_space, many)
        found[group.name] = np.reshape(joined, (rows, group.seats, *joined.shape[1:]))
    return found


@pytest.mark.parametrize("joint", ["dict", "flat"])
@pytest.mark.parametrize(
    ("system", "params"),
    [
        (Crowd, {}),
        (Drones, {}),
        (LlmMac, {**STORMY, "role": "leader"}),
        (LlmMac, {**STORMY, "role": "follower"}),
        (LlmMac, STORMY),
        (LlmMac, {**STORMY, "bs_action": "pointer", "history": 1, "privileged": True}),
    ],
)
def test_layouts_are_taken_apart_and_put_together_again(
    system: Any, params: dict[str, Any], joint: Any
) -> None:
    try:
        game = cast("Game[Any, Any]", make_system(system, joint=joint, **params))
    except OptionsError:
        assert joint == "flat"
        return
    env = make_vector_env(system, 4, joint=joint, **params)
    env.reset(seed=1)
    state = env.rows.state
    whole = game.observe(state)
    parts, want = game.seen(whole), dict(game.perceive(state, {}))
    if not all(g.is_fixed for g in game.groups):
        want[ALIVE] = game.alive(state).to(torch.float32)
    assert parts.keys() >= want.keys()
    assert all(torch.equal(parts[k], want[k].to(torch.float32)) for k in want)
    drawn = sample(game, 4, np.random.default_rng(0))
    moves = {k: torch.as_tensor(v) for k, v in drawn.items()}
    action = game.joint_action(moves)
    back = game.moves(action)
    assert back.keys() == moves.keys()
    assert all(torch.equal(back[k], moves[k]) for k in moves)
    again = game.joint_action(back)
    if joint == "dict":
        assert all(torch.equal(again[k], moves[k]) for k in moves)  # type: ignore[index]
    else:
        assert torch.equal(again, action)  # type: ignore[arg-type]
    assert game.action_space.contains(row(as_arrays(action), 0))

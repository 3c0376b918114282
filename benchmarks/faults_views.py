"""Bad calls of the views of other libraries: Stable-Baselines3, PettingZoo, TorchRL."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from faults_calls import all_finite, refused_whole, unchanged
from faults_inputs import (
    ACTIONS,
    INDICES,
    OPTIONS,
    SEEDS,
    STATES,
    Odd,
    Trial,
    anything,
    drawn,
    spoiled,
    spoiled_states,
)

from sixgym.baselines.generic import RandomPolicy
from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.game import Game
from sixgym.envs.core.multiagent_sb3 import make_multiagent_vec_env
from sixgym.envs.core.pettingzoo_view import SixgymAECEnv, SixgymParallelEnv, env, parallel_env
from sixgym.envs.core.registry import entry
from sixgym.envs.core.sb3_view import make_vec_env
from sixgym.envs.core.team_sb3 import make_team_vec_env

ROWS = 3

# ------------------------------------------------------------------------------- Stable-Baselines3


def _sb3_views(id: str) -> Iterator[tuple[str, Any]]:
    """The views of an id, with the name of each; those that it cannot have are left out."""
    yield f"{id} x {ROWS}", make_vec_env(id, ROWS, seed=0)
    kind = entry(id).load_system()
    if not issubclass(kind, Game):
        return
    with contextlib.suppress(OptionsError):  # its groups' actions cannot stand side by side
        yield f"{id}, team", make_team_vec_env(id, 2, seed=0)
    for group in kind(kind.params_type.create()).groups:
        try:
            others = _partners(kind, group.name)
            yield f"{id}, {group.name}", make_multiagent_vec_env(id, 2, group.name, others, seed=0)
        except OptionsError:  # actions that SB3 does not know
            pass


def _partners(kind: Any, learner: str) -> dict[str, Any]:
    groups = kind(kind.params_type.create()).groups
    return {g.name: RandomPolicy(g.action_space) for g in groups if g.name != learner}


def _sb3_step(view: Any, action: Any) -> Callable[[], None]:
    def run() -> None:
        view.seed(0)
        view.reset()
        before = view.state_dict()
        try:
            view.step_async(action)
            told = view.step_wait()
        except Exception:
            unchanged(before, view.state_dict())
            raise
        all_finite(told)

    return run


def sb3(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Actions, seeds, attributes, methods, indices and states of the views for SB3."""
    for id in ids:
        for where, view in _sb3_views(id):
            yield from _sb3_actions(where, view, fuzz)
            yield from _sb3_calls(where, view)
            yield from _sb3_states(where, view)
            yield Trial(
                "sb3",
                where,
                "a good step, after all that",
                _sb3_step(view, _moves(view)),
                must_pass=True,
            )


def _moves(view: Any) -> Any:
    view.action_space.seed(0)
    return np.stack([view.action_space.sample() for _ in range(view.num_envs)])


def _sb3_actions(where: str, view: Any, fuzz: int) -> Iterator[Trial]:
    unasked = type(view).__name__
    yield Trial("sb3", where, f"{unasked}: a step before reset", view.step_wait, True)
    view.reset()
    for value in (*ACTIONS, *spoiled(_moves(view))):
        yield Trial("sb3", where, f"step: {value!r}", _sb3_step(view, value), True)
    for value in drawn(anything(), fuzz):
        yield Trial("sb3", where, f"step: {value!r}", _sb3_step(view, value))


def _sb3_calls(where: str, view: Any) -> Iterator[Trial]:
    for seed in SEEDS:
        yield Trial("sb3", where, f"seed: {seed!r}", lambda s=seed: view.seed(s), True)
    for name in ("no_such_name", "", "__nothing", 5, None, Odd()):
        for call in ("get_attr", "env_method"):
            yield Trial(
                "sb3", where, f"{call}({name!r})", lambda c=call, n=name: getattr(view, c)(n), True
            )
    for name in (5, None, Odd()):
        yield Trial(
            "sb3", where, f"set_attr({name!r}, 1)", lambda n=name: view.set_attr(n, 1), True
        )
    yield Trial("sb3", where, "env_method('num_envs')", lambda: view.env_method("num_envs"), True)
    for indices in INDICES:
        for shown, call in (
            ("get_attr('num_envs'", lambda i=indices: view.get_attr("num_envs", i)),
            ("set_attr('note', 1", lambda i=indices: view.set_attr("note", 1, i)),
            ("env_method('action_masks'", lambda i=indices: view.env_method("close", indices=i)),
            ("env_is_wrapped(object", lambda i=indices: view.env_is_wrapped(object, i)),
        ):
            yield Trial("sb3", where, f"{shown}, {indices!r})", call, True)
    for value in (*OPTIONS, [{"a": 1}], [5] * view.num_envs):
        yield Trial("sb3", where, f"options: {value!r}", _sb3_options(view, value), True)


def _sb3_options(view: Any, value: Any) -> Callable[[], None]:
    def run() -> None:
        view.reset()
        try:
            view.set_options(value)
            view.reset()
        finally:
            view.set_options(None)

    return run


def _sb3_states(where: str, view: Any) -> Iterator[Trial]:
    view.reset()
    good = view.state_dict()
    first = next(iter(good))  # the others of the system's are tried with Gymnasium's views
    own = {k for k in good if k == first or not k.startswith("state.")}
    for shown, value in (*((repr(s), s) for s in STATES), *spoiled_states(good, own)):

        def run(value: Any = value) -> None:
            before = view.state_dict()
            try:
                view.load_state_dict(value)
            except Exception:
                unchanged(before, view.state_dict())
                raise

        yield Trial("sb3", where, f"state: {shown}", run, True)


# -------------------------------------------------------------------------------------- PettingZoo


def pettingzoo(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Both views of every game: agents, moves, seeds, options; before, in and after an episode."""
    for id in ids:
        if not entry(id).is_game:
            continue
        both = parallel_env(id, max_episode_steps=3), env(id, max_episode_steps=3)
        for view in both:
            yield from _before(id, view)
            yield from _unknown_agents(id, view)
            for seed in SEEDS:
                yield _pz(view, id, f"seed: {seed!r}", lambda v=view, s=seed: v.reset(seed=s))
            for value in ("options", 5, ["a"], Odd()):
                run = partial(view.reset, seed=0, options=value)
                yield _pz(view, id, f"options: {value!r}", run)
        yield from _parallel_moves(id, both[0], fuzz)
        yield from _aec_moves(id, both[1], fuzz)


def _pz(view: Any, id: str, shown: str, run: Callable[[], object], must_fail: bool = True) -> Trial:
    kind = "parallel" if isinstance(view, SixgymParallelEnv) else "AEC"
    return Trial("pettingzoo", f"{id}, {kind}", shown, run, must_fail)


def _unknown_agents(id: str, view: Any) -> Iterator[Trial]:
    for agent in ("nobody", "", "agent_999", None, 5, [], Odd()):
        for call in ("observation_space", "action_space"):
            run = partial(getattr(view, call), agent)
            yield _pz(view, id, f"{call}({agent!r})", run)
        if isinstance(view, SixgymAECEnv):
            yield _pz(view, id, f"observe({agent!r})", lambda a=agent: _ready(view).observe(a))


def _ready(view: Any) -> Any:
    view.reset(seed=0)
    return view


def _before(id: str, view: Any) -> Iterator[Trial]:
    """Calls before the first reset."""
    calls: dict[str, Callable[[], object]] = {
        "step": lambda: view.step({} if isinstance(view, SixgymParallelEnv) else 0),
        "state": view.state,
        "render": view.render,
    }
    if isinstance(view, SixgymAECEnv):
        calls["last"] = view.last
        calls["observe"] = lambda: view.observe(view.possible_agents[0])
    for name, run in calls.items():
        yield _pz(view, id, f"{name} before reset", run, must_fail=name != "render")


def _parallel_step(view: Any, actions: Any) -> Callable[[], None]:
    """A step of the parallel view; where it is refused nothing must have changed."""

    def run() -> None:
        view.reset(seed=0)
        refused_whole(_Rows(view), lambda: view.step(actions))

    def checked() -> None:
        try:
            run()
        except Exception:
            if view.agents != list(view.table.seats) or view.table.turn != 0:
                raise AssertionError("agents or turn changed") from None
            raise

    return checked


class _Rows:
    """A table's rows where `refused_whole` looks for them."""

    def __init__(self, view: Any) -> None:
        self.rows = view.table.rows
        self.unwrapped = self


def _parallel_moves(id: str, view: Any, fuzz: int) -> Iterator[Trial]:
    view.reset(seed=0)
    movers = view.table.movers()
    good = {agent: _move(view, agent) for agent in view.agents}
    first = movers[0]
    hand: list[Any] = [None, 5, "go", [], [0] * len(movers), set(), Odd(), {}, {"nobody": 0}]
    hand += [{**good, "nobody": 0}, {**good, 5: 0}, {**good, None: 0}]
    hand += [{k: v for k, v in good.items() if k != first}, dict.fromkeys(good)]
    hand += [{**good, first: bad} for bad in (*ACTIONS, *spoiled(good[first]))]
    for value in hand:
        yield _pz(view, id, f"step({value!r})", _parallel_step(view, value))
    for value in drawn(anything(), fuzz):
        run = _parallel_step(view, {**good, first: value})
        yield _pz(view, id, f"step({first}: {value!r})", run, must_fail=False)
    yield _pz(view, id, "a good step, after all that", _parallel_step(view, good), must_fail=False)

    def after_the_end() -> None:
        view.reset(seed=0)
        for _ in range(99):
            if not view.agents:
                break
            view.step({a: _move(view, a) for a in view.agents})
        view.step(good)

    yield _pz(view, id, "a step after the end", after_the_end)


def _move(view: Any, agent: str) -> Any:
    space = view.action_space(agent)
    space.seed(0)
    return space.sample()


def _aec_step(view: Any, action: Any) -> Callable[[], None]:
    """A move of the AEC view; where it is refused the same agent may try again."""

    def run() -> None:
        view.reset(seed=0)
        who = view.agent_selection
        try:
            refused_whole(_Rows(view), lambda: view.step(action))
        except Exception:
            if view.agent_selection != who:
                raise AssertionError("another agent's turn, after a refused move") from None
            view.step(_move(view, who))
            raise

    return run


def _aec_moves(id: str, view: Any, fuzz: int) -> Iterator[Trial]:
    view.reset(seed=0)
    good = _move(view, view.agent_selection)
    for value in (*ACTIONS, *spoiled(good)):
        yield _pz(view, id, f"step({value!r})", _aec_step(view, value))
    for value in drawn(anything(), fuzz):
        yield _pz(view, id, f"step({value!r})", _aec_step(view, value), must_fail=False)

    def to_the_end() -> None:
        view.reset(seed=0)
        while not (
            view.terminations[view.agent_selection] or view.truncations[view.agent_selection]
        ):
            view.step(_move(view, view.agent_selection))

    def dead(action: Any) -> Callable[[], None]:
        def run() -> None:
            to_the_end()
            view.step(action)

        return run

    for value in (good, 0, "go", Odd()):
        yield _pz(view, id, f"a dead agent's step({value!r})", dead(value))

    def after_the_end() -> None:
        to_the_end()
        while view.agents:
            view.step(None)
        view.step(None)

    yield _pz(view, id, "a step after the end", after_the_end)
    yield _pz(view, id, "a good step, after all that", _aec_step(view, good), must_fail=False)


# --------------------------------------------------------------------------------- LLM-MAC in words


WORDS = (
    *("UE", "BS", "null", "transmit", "delete", "schedule_request", "schedule_grant"),
    *("acknowledge", ":", ",", ";", "0", "1", "9", "\n", " ", "{", "[", '"'),
    *("\u0000", "\ud800", "\u202e", "9" * 99),
)
"""Of the language and of none."""


def spoken(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Utterances: any text is an answer, a violation at most."""
    from hypothesis import strategies as st

    from sixgym.envs.llm_mac.text_view import ID, text_parallel_env

    if ID not in ids:
        return
    text = st.one_of(st.text(), st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join))
    for lenient in (False, True):
        view = text_parallel_env(lenient=lenient)
        for value in (*ACTIONS, "x" * 10**6, *drawn(st.one_of(text, anything()), fuzz * 3)):
            run = _speaking(view, value)
            yield Trial("spoken", f"{ID}, lenient={lenient}", repr(value), run)
    strict = text_parallel_env(on_invalid="raise")
    for value in (*ACTIONS, "x" * 10**6):
        yield Trial(
            "spoken", f"{ID}, on_invalid='raise'", repr(value), _speaking(strict, value), True
        )


def _speaking(view: Any, value: Any) -> Callable[[], None]:
    def run() -> None:
        view.reset(seed=0)
        for _ in range(2):
            view.step(dict.fromkeys(view.agents, value))

    return run


# ----------------------------------------------------------------------------------------- TorchRL


def torchrl(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Actions, masks and seeds of the views for TorchRL, where it is installed."""
    if importlib.util.find_spec("torchrl") is None:
        return
    from sixgym.envs.core.torchrl_game import make_torchrl_game
    from sixgym.envs.core.torchrl_view import make_torchrl_env

    # TorchRL makes "spawn" the start method of the whole process, also for what is tried later.
    multiprocessing.set_start_method(None, force=True)
    for id in ids:
        views: list[tuple[str, Any]] = [(id, make_torchrl_env(id, ROWS))]
        if entry(id).is_game:
            views.append((f"{id}, agents", make_torchrl_game(id, ROWS)))
        for where, view in views:
            yield from _torchrl_trials(where, view, fuzz)


def _torchrl_trials(where: str, view: Any, fuzz: int) -> Iterator[Trial]:
    import torch
    from tensordict import TensorDict

    good = view.rand_action(view.reset())
    key = view.action_keys[0]
    value = good.get(key)
    odd: dict[str, Any] = {"a missing action": None}
    if isinstance(value, torch.Tensor):
        odd |= {"complex": value.to(torch.complex64)}
        if isinstance(key, str):  # of groups the dictionary itself refuses other shapes
            odd |= {"of another shape": value[:, None, None]}
        if value.is_floating_point():
            odd |= {"nan": value * torch.nan, "inf": value + torch.inf, "huge": value + 1e30}
        else:
            odd |= {"-1": value * 0 - 1, "10**6": value * 0 + 10**6, "halves": value + 0.5}
    for shown, bad in odd.items():

        def run(bad: Any = bad) -> None:
            seen = view.reset()
            if bad is not None:
                seen.set(key, bad)
            refused_whole(_Itself(view), lambda: view.step(seen))

        yield Trial("torchrl", where, f"action {shown}", run, True)
    rows = view.batch_size[0]
    for shown, mask in {
        "of floats": torch.ones(rows, 1),
        "of complex numbers": torch.ones(rows, 1, dtype=torch.complex64),
    }.items():
        given = TensorDict({"_reset": mask}, batch_size=view.batch_size)
        run = partial(refused_whole, _Itself(view), partial(view.reset, given))
        yield Trial("torchrl", where, f"mask {shown}", run)
    for seed in (-1, "a", 1.5, None, 2**70):
        yield Trial("torchrl", where, f"seed {seed!r}", lambda s=seed: view.set_seed(s))
    yield Trial(
        "torchrl", where, "a good step, after all that", lambda: _torchrl_step(view), must_pass=True
    )
    del fuzz


def _torchrl_step(view: Any) -> None:
    view.step(view.rand_action(view.reset()))


class _Itself:
    """A view that holds its rows, where `refused_whole` looks for them."""

    def __init__(self, view: Any) -> None:
        self.rows = view.rows
        self.unwrapped = self

"""Rows of one system stepped together: seeds, episodes, time limit, autoreset, compilation.

Every view (Gymnasium, Stable-Baselines3, PettingZoo) stands on `Rows`. A row is one environment:
its episode is a function of (row seed, episode number) alone, so row i of a batch seeded s equals
the single environment seeded s + i, whatever the batch size and the order of resets.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.envs.backend.rng import Draws, episode_key
from sixgym.envs.core.ahead import DrawsAhead
from sixgym.envs.core.aot import Held, Kernel, KernelError, KernelWarning
from sixgym.envs.core.errors import OptionsError, StateError
from sixgym.envs.core.fuse import Fused, Traced, below_autograd, trace
from sixgym.envs.core.saved import check_saved
from sixgym.envs.core.spaces import to_numpy
from sixgym.envs.core.starts import LEAST_ROWS, StartKernel, Starts
from sixgym.envs.core.system import Action, Observation, P, S, System

CHUNK_ROWS = 512
"""Eager batches are stepped in chunks of this many rows on a CPU, so that temporaries stay in its
cache; an accelerator takes all rows at once."""
SOLVER_CHUNK_ROWS = 1024
"""The same for a step with a solver, which has many small operations and splits its rows."""


Compile = bool | Literal["aot"]
"""How a step is compiled, see `Rows`."""


class Outcome(NamedTuple):
    """One step of all rows; all tensors are fresh. Nothing here is written again."""

    observation: Observation
    reward: Tensor
    """(rows,), for games (rows, agents)."""
    terminated: Tensor
    """(rows,) bool."""
    truncated: Tensor
    """(rows,) bool: the time limit was reached in this step."""
    metrics: Tensor
    """(rows, numbers): the level-0 metrics that are one number, as in ``Rows.metric_names``."""
    diagnostics: dict[str, Tensor]
    """All other metrics up to the info level by name, each (rows, *shape)."""


class OutcomeArrays(NamedTuple):
    """`Outcome` in NumPy."""

    observation: Any
    """An array, or a dictionary of them."""
    reward: NDArray[Any]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    metrics: NDArray[Any]
    diagnostics: dict[str, NDArray[Any]]


class _Result(NamedTuple):
    """What the pure, compiled part of a step returns: `Outcome` and the new state, flat."""

    state: tuple[Tensor, ...]
    step: Tensor
    outcome: Outcome


def tree_map(function: Callable[..., Tensor], *trees: Observation) -> Observation:
    """Apply a function to tensors, or to the tensors of equal dictionaries, key by key."""
    first = trees[0]
    if isinstance(first, dict):
        return {k: function(*(cast("dict[str, Tensor]", t)[k] for t in trees)) for k in first}
    return function(*trees)


def check_mapping(options: object) -> None:
    """Raise unless the options of a ``reset`` are a dictionary or None.

    Raises:
        OptionsError: they are something else.
    """
    if options is not None and not isinstance(options, Mapping):
        raise OptionsError(f"options={options!r}: allowed: a dictionary, or None")


def _check_count(name: str, value: object) -> None:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or cast("int", value) < 1:
        raise OptionsError(f"{name}={value!r}: allowed: a whole number, at least 1")


def _check_compile(compile: object, system: System[Any, Any]) -> None:
    if not isinstance(compile, bool) and compile != "aot":
        raise OptionsError(f"compile={compile!r}: allowed: True, False, 'aot'")
    if compile and system.contains_solver:
        raise OptionsError(
            f"compile={compile!r}: the step of {type(system).__name__} contains a solver; "
            "allowed: compile=False"
        )
    if compile == "aot" and system.device.type != "cpu":
        raise OptionsError(f"compile='aot': on {system.device}; allowed: device='cpu'")


class Rows(Generic[P, S]):
    """``num_rows`` environments of one system.

    Args:
        system: the dynamics; its device and dtype are the rows'.
        num_rows: at least 1.
        max_episode_steps: steps after which ``truncated`` is set; None never truncates.
        compile: True fuses the step by torch's compiler (tens of seconds once); ``"aot"`` makes a
            library of it that is kept in the user's cache, the fastest for one row, and falls back
            to the eager step with a warning where there is no compiler. The compiled and the eager
            step agree to float tolerance, as do eager batches of different sizes; one batch repeats
            itself bit for bit.

    Raises:
        OptionsError: a number out of range, or compilation asked of a system with a solver, or
            ``"aot"`` beyond the CPU.
    """

    def __init__(
        self,
        system: System[P, S],
        num_rows: int,
        *,
        max_episode_steps: int | None = None,
        compile: Compile = False,
    ) -> None:
        _check_count("num_envs", num_rows)
        if max_episode_steps is not None:
            _check_count("max_episode_steps", max_episode_steps)
        _check_compile(compile, system)
        self.system = system
        self.num_rows = num_rows
        self.max_episode_steps = max_episode_steps
        self.compile = compile
        self.metric_names = tuple(m.name for m in system.metrics_up_to(0) if m.shape == ())
        zero = torch.zeros(num_rows, dtype=torch.int64, device=system.device)
        self.seed = zero
        self.episode = zero.clone()
        self._step = zero.clone()
        self._key = zero.clone()
        self._state: S | None = None
        self._state_type: Callable[[Sequence[Tensor]], S] = cast("Any", tuple)
        self._fused: Fused | Kernel | None = None
        self._held: Held | None = None
        """What the kernel goes on from."""
        self._is_behind = False
        """Whether `_state` and `_step` are older than what is held, see `_catch_up`."""
        self._ahead: DrawsAhead | None = None
        self._starts: Starts | StartKernel | None = None

    @property
    def state(self) -> S:
        """The system's state of all rows.

        Raises:
            StateError: nothing has been reset yet.
        """
        if self._state is None:
            raise StateError("step before reset: call reset() first")
        self._catch_up()
        return self._state

    @property
    def step(self) -> Tensor:
        """(rows,) int64: steps of the current episodes."""
        self._catch_up()
        return self._step

    def _catch_up(self) -> None:
        """Take the state out of the kernel's buffers."""
        if self._is_behind and isinstance(self._fused, Kernel) and self._held is not None:
            *state, self._step, self._key = self._fused.carried(self._held)
            self._state = self._state_type(state)
        self._is_behind = False

    @property
    def started(self) -> bool:
        """Whether a first reset has happened."""
        return self._state is not None

    @torch.no_grad()
    def start(
        self,
        rows: Tensor | None = None,
        seeds: Tensor | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Observation:
        """Begin an episode in some rows.

        Args:
            rows: (n,) int64 indices; None is all rows.
            seeds: (n,) int64 row seeds: those rows begin their episode 0. None: each begins its
                next episode.
            options: of the system, for these episodes only; see `System.with_options`.

        Returns:
            The first observations of these rows, (n, ...).

        Raises:
            StateError: seeds are None before the first seeded start, or only some rows are
                started before all of them were.
            OptionsError: an option is unknown or its value not allowed; nothing is started then.
        """
        if self._state is None and (seeds is None or rows is not None):
            raise StateError("the first start must seed all rows")
        everything = torch.arange(self.num_rows, device=self.system.device)
        index = everything if rows is None else rows
        seed = self.seed[index] if seeds is None else seeds
        episode = self.episode[index] + 1 if seeds is None else torch.zeros_like(seed)
        step = torch.zeros_like(seed)
        key = episode_key(seed, episode)
        check_mapping(options)
        if options:
            self._check_options(options)
            state = self.system.with_options(self._start_state(key, step), options)
            observation = self.system.observe(state)
        else:
            state, observation = self._begin(key, step)
        fresh = (seed, episode, step, key, *state)
        if rows is not None:
            held = (self.seed, self.episode, self.step, self._key, *self.state)
            fresh = tuple(h.index_copy(0, index, f) for h, f in zip(held, fresh, strict=True))
        self.seed, self.episode, self._step, self._key = fresh[:4]
        self._set_state(state, fresh[4:])
        if isinstance(self._fused, Kernel):
            self._held = self._hold(self._fused)
        return observation

    def _begin(self, key: Tensor, step: Tensor) -> tuple[S, Observation]:
        """First states and what is seen of them."""
        begin = self._starter(key, step)
        if begin is not None:
            return cast("tuple[S, Observation]", begin(key, step))
        state = self._start_state(key, step)
        return state, self.system.observe(state)

    def _starter(self, key: Tensor, step: Tensor) -> Callable[..., Any] | None:
        """What begins so many rows compiled; None if they begin eagerly."""
        if not self.compile or not self.system.starts_often or self.system.device.type != "cpu":
            return None
        is_kernel = self.compile == "aot"
        if len(key) != self.num_rows if is_kernel else len(key) < LEAST_ROWS:
            return None
        if self._starts is None:
            try:
                if is_kernel:
                    self._starts = StartKernel(self._fresh, key, step)
                else:
                    self._starts = Starts(self.system.start_draws.draw, self._first)
            except KernelError as error:
                self._give_up(error)
                return None
        return self._starts

    def _fresh(self, key: Tensor, step: Tensor) -> tuple[S, Observation]:
        """The start of an episode as a function of its arguments."""
        return self._first(self.system.start_draws.draw(key, step))

    def _first(self, noise: Draws) -> tuple[S, Observation]:
        """First states of given draws, and what is seen of them."""
        state = self.system.start(noise)
        return state, self.system.observe(state)

    def _check_options(self, options: Mapping[str, Any]) -> None:
        known = self.system.reset_options
        unknown = [name for name in options if name not in known]
        if unknown:
            odd, allowed = (", ".join(map(repr, names)) for names in (unknown, known))
            raise OptionsError(f"options: unknown {odd}; allowed: {allowed or 'none'}")

    def _start_state(self, key: Tensor, step: Tensor) -> S:
        size = self._chunk_rows(CHUNK_ROWS)
        chunks = [
            self.system.start(self.system.start_draws.draw(k, s))
            for k, s in zip(torch.split(key, size), torch.split(step, size), strict=True)
        ]
        if len(chunks) == 1:
            return chunks[0]
        make = cast("Any", getattr(type(chunks[0]), "_make", tuple))
        return cast("S", make([torch.cat(leaves) for leaves in zip(*chunks, strict=True)]))

    def advance(self, action: Action) -> Outcome:
        """One step of every row; rows that have ended are not restarted here.

        Args:
            action: (rows, ...), already validated (see `sixgym.envs.core.spaces`).

        Raises:
            StateError: nothing has been reset yet.
        """
        fused = self._compiled(action)
        if isinstance(fused, Kernel):
            return Outcome(*fused.tensors(self._run(fused, action)))
        inputs = self._inputs(action)
        if fused is not None or self.system.contains_solver:
            with torch.no_grad():  # a solver may differentiate inside
                result: _Result = (fused or self._advance_eager)(*inputs)
        else:
            with below_autograd():
                result = self._advance_eager(*inputs)
        self._state = self._state_type(result.state)
        self._step = result.step
        return result.outcome

    def advance_arrays(self, action: Action) -> OutcomeArrays:
        """As `advance`, in NumPy: views, without a copy on the CPU.

        Raises:
            StateError: nothing has been reset yet.
        """
        fused = self._compiled(action)
        if isinstance(fused, Kernel):
            return OutcomeArrays(*fused.arrays(self._run(fused, action)))
        return OutcomeArrays(*map(to_numpy, self.advance(action)))

    def _hold(self, kernel: Kernel) -> Held:
        return kernel.hold((*self.state, self._step, self._key))

    def _run(self, kernel: Kernel, action: Action) -> Held:
        self._held = kernel(self._held or self._hold(kernel), action)
        self._is_behind = True
        return self._held

    @torch.no_grad()
    def observation(self) -> Observation:
        """The current observation of all rows, computed afresh."""
        return self.system.observe(self.state)

    @torch.no_grad()
    def action_mask(self) -> Tensor | None:
        """(rows, n) bool of allowed actions, or None where all always are."""
        return self.system.action_mask(self.state)

    def _advance_eager(
        self, state: tuple[Tensor, ...], action: Action, key: Tensor, step: Tensor
    ) -> _Result:
        has_solver = self.system.contains_solver
        size = self._chunk_rows(SOLVER_CHUNK_ROWS if has_solver else CHUNK_ROWS)
        if self.num_rows <= size:
            if self._ahead is None:
                self._ahead = DrawsAhead(self.system.step_draws, self.num_rows)
            return self._given(state, action, *self._ahead.next(key, step))
        bounds = range(0, self.num_rows, size)
        before = [tuple(leaf[i : i + size] for leaf in state) for i in bounds]
        parts = [
            self._pure(
                chunk,
                tree_map(lambda t, i=i: t[i : i + size], action),
                key[i : i + size],
                step[i : i + size],
            )
            for i, chunk in zip(bounds, before, strict=True)
        ]
        # What a system hands on untouched (geometry, say) needs no copy.
        leaves = tuple(
            whole
            if all(part.state[j] is chunk[j] for part, chunk in zip(parts, before, strict=True))
            else torch.cat([part.state[j] for part in parts])
            for j, whole in enumerate(state)
        )
        return _concatenate(parts, leaves)

    def _chunk_rows(self, on_cpu: int) -> int:
        return on_cpu if self.system.device.type == "cpu" else self.num_rows

    def _pure(
        self, state: tuple[Tensor, ...], action: Action, key: Tensor, step: Tensor
    ) -> _Result:
        """Draw, advance and observe: the whole step as a function of its arguments."""
        step = step + 1
        return self._given(state, action, step, self.system.step_draws.draw(key, step))

    def _given(
        self, state: tuple[Tensor, ...], action: Action, step: Tensor, noise: Draws
    ) -> _Result:
        """Advance and observe, given the draws of a step."""
        system = self.system
        new, stepped = system.advance(self._state_type(state), action, noise)
        reward, terminated, metrics, packed = stepped
        if self.max_episode_steps is None:
            truncated = torch.zeros_like(terminated)
        else:
            truncated = step >= self.max_episode_steps
        if packed is None:
            packed = self._pack(metrics, reward)
        rest = {k: v.to(system.dtype) for k, v in metrics.items() if k not in self.metric_names}
        outcome = Outcome(system.observe(new), reward, terminated, truncated, packed, rest)
        return _Result(tuple(new), step, outcome)

    def _pack(self, metrics: dict[str, Tensor], like: Tensor) -> Tensor:
        if not self.metric_names:
            return like.new_zeros((like.shape[0], 0))
        return torch.stack([metrics[name] for name in self.metric_names], dim=1)

    def _inputs(self, action: Action) -> tuple[tuple[Tensor, ...], Action, Tensor, Tensor]:
        return tuple(self.state), action, self._key, self.step

    @torch.no_grad()
    def traced(self, action: Action) -> Traced:
        """The graph of the step that `compile` would compile, for those who count what it does.

        Raises:
            StateError: nothing has been reset yet.
        """
        return trace(self._pure, *self._inputs(action))

    def _compiled(self, action: Action) -> Fused | Kernel | None:
        """The compiled step, made in the first step; None where it is eager."""
        if self.compile and self._fused is None:
            self._fused = self._compile(action)
        return self._fused

    @torch.no_grad()
    def _compile(self, action: Action) -> Fused | Kernel | None:
        if self.compile != "aot":
            return Fused(self._pure, *self._inputs(action))
        try:
            return Kernel(self._carrying, (*self.state, self._step, self._key), action)
        except KernelError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: KernelError) -> None:
        text = f"compile='aot': {error}; the step runs eagerly"
        warnings.warn(text, KernelWarning, stacklevel=5)
        self.compile = False

    def _carrying(self, carried: tuple[Tensor, ...], action: Action) -> tuple[Any, Outcome]:
        """The step as a kernel takes it."""
        *state, step, key = carried
        result = self._pure(tuple(state), action, key, step)
        return (*result.state, result.step, key), result.outcome

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that decides how the rows go on: a flat dictionary of contiguous tensors.

        Raises:
            StateError: nothing has been reset yet.
        """
        state = self.state
        names = getattr(state, "_fields", range(len(state)))
        saved = {f"state.{n}": t for n, t in zip(names, state, strict=True)}
        saved |= {"rows.seed": self.seed, "rows.episode": self.episode, "rows.step": self.step}
        return {k: v.detach().clone().contiguous() for k, v in saved.items()}

    @torch.no_grad()
    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue from `state_dict` of rows of the same system and number.

        Raises:
            StateError: they are not those that were saved, see `check_saved`, or a count is
                negative; nothing is changed then.
        """
        if self._state is None:
            device = self.system.device
            key = torch.zeros(self.num_rows, dtype=torch.int64, device=device)
            template = self._start_state(key, key)
        else:
            template = self.state
        names = [str(n) for n in getattr(template, "_fields", range(len(template)))]
        expected = {f"state.{n}": t for n, t in zip(names, template, strict=True)}
        expected |= {f"rows.{n}": self.seed for n in ("seed", "episode", "step")}
        checked = check_saved(saved, expected)
        own = {k: v.to(self.system.device).clone() for k, v in checked.items()}
        for name in ("rows.seed", "rows.episode", "rows.step"):
            if bool((own[name] < 0).any()):
                raise StateError(f"state: {name} is negative; allowed: 0 and above")
        self.seed, self.episode, step = (own[f"rows.{n}"] for n in ("seed", "episode", "step"))
        self._key, self._step = episode_key(self.seed, self.episode), step
        self._set_state(template, [own[f"state.{n}"] for n in names])

    def _set_state(self, like: S, leaves: Sequence[Tensor]) -> None:
        self._state_type = cast("Any", getattr(type(like), "_make", tuple))
        self._state = self._state_type(leaves)
        self._held, self._is_behind = None, False

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and deepcopy without what is made again on use."""
        self._catch_up()
        made = dict.fromkeys(("_fused", "_held", "_ahead", "_starts"))
        return {**self.__dict__, **made}


def _concatenate(parts: list[_Result], state: tuple[Tensor, ...]) -> _Result:
    outcomes = [p.outcome for p in parts]
    first = outcomes[0]
    outcome = Outcome(
        observation=tree_map(lambda *t: torch.cat(t), *(o.observation for o in outcomes)),
        reward=torch.cat([o.reward for o in outcomes]),
        terminated=torch.cat([o.terminated for o in outcomes]),
        truncated=torch.cat([o.truncated for o in outcomes]),
        metrics=torch.cat([o.metrics for o in outcomes]),
        diagnostics={k: torch.cat([o.diagnostics[k] for o in outcomes]) for k in first.diagnostics},
    )
    return _Result(state, torch.cat([p.step for p in parts]), outcome)

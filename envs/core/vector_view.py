"""The native vector environment: N rows stepped as one batch, with Gymnasium's autoreset modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from sixgym.envs.core.errors import ActionError, OptionsError, SeedError, StateError
from sixgym.envs.core.render import Screen, render_modes
from sixgym.envs.core.rows import Compile, Outcome, Rows, check_mapping, tree_map
from sixgym.envs.core.saved import check_saved
from sixgym.envs.core.spaces import ActionReader, as_array, to_numpy
from sixgym.envs.core.system import Observation, System
from sixgym.envs.core.worlds import check_row_seed

_SEED_RANGE = 2**31
"""Rows that are never seeded start from a base below this."""


class Transition(NamedTuple):
    """One step of all rows with autoreset applied, as tensors."""

    outcome: Outcome
    """What the rows did; its observation is the final one of rows that ended."""
    observation: Observation
    """What the agent sees next: the first observation where a row was restarted."""
    restarted: Tensor | None
    """(n,) int64 rows restarted in this call; None if none was."""


class SixgymVectorEnv(VectorEnv[Any, Any, Any]):
    """All rows of a system as a `gymnasium.vector.VectorEnv`.

    Args:
        system: the dynamics.
        num_envs: rows.
        max_episode_steps: time limit; None for none.
        autoreset_mode: ``"NextStep"``, ``"SameStep"`` or ``"Disabled"`` (or Gymnasium's enum).
        output: ``"numpy"`` hands out views of this step's fresh tensors, ``"torch"`` the tensors.
        render_mode: ``"rgb_array"``, ``"human"``, ``"ansi"`` or None.
        compile: True fuses the step; ``"aot"`` makes a library of it that is kept; see `Rows`.

    Raises:
        OptionsError: an argument is not among what is allowed.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's name and type; instances copy it
        "render_modes": [],
        "render_fps": 10,
    }

    def __init__(
        self,
        system: System[Any, Any],
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        output: Literal["numpy", "torch"] = "numpy",
        render_mode: str | None = None,
        compile: Compile = False,
    ) -> None:
        self.rows: Rows[Any, Any] = Rows(
            system, num_envs, max_episode_steps=max_episode_steps, compile=compile
        )
        self.autoreset_mode = _mode(autoreset_mode)
        if output not in ("numpy", "torch"):
            raise OptionsError(f"output={output!r}: allowed: 'numpy', 'torch'")
        self.output = output
        self.system = system
        self.num_envs = num_envs
        self.metadata = {
            **type(self).metadata,
            "render_modes": render_modes(system),
            "autoreset_mode": self.autoreset_mode,
        }
        self._screen = Screen(system, render_mode, self.metadata["render_fps"])
        self.render_mode = render_mode
        self.single_observation_space = system.observation_space
        self.single_action_space = system.action_space
        self.observation_space = batch_space(system.observation_space, num_envs)
        self.action_space = batch_space(system.action_space, num_envs)
        self._reader = ActionReader(
            system.action_space, dtype=system.dtype, device=system.device, name="actions"
        )
        self._ended = np.zeros(num_envs, dtype=np.bool_)
        self._everyone = np.ones(num_envs, dtype=np.bool_)
        self._everyone.setflags(write=False)
        self._waiting = False  # whether any row has ended
        self._like: Outcome | None = None
        """The last step, if every row ended in it."""
        self._mask_names = tuple(f"_{name}" for name in self.rows.metric_names)

    # ------------------------------------------------------------------ reset

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes.

        Args:
            seed: s seeds row i with s + i; a sequence seeds each row, None in it (or at all) goes
                on to that row's next episode.
            options: ``{"reset_mask": (num_envs,) bool}`` restarts these rows only; the others
                return their current observation. Options of the system may stand beside it, each
                one value or a sequence of ``num_envs``, for the episodes begun here.

        Raises:
            SeedError: a seed is negative or not an integer, or there are not ``num_envs`` of them.
            OptionsError: an unknown option, or a value that is not allowed.
            TypeError: the mask is not a bool array.
            ValueError: the mask has another shape or is all False.
        """
        mask = self._mask(options)
        seeds = self._seeds(seed)
        everyone = mask is None or bool(mask.all())
        if not self.rows.started:
            if not everyone:
                raise StateError("reset_mask: the first reset must restart all rows")
            base = int(self.np_random.integers(_SEED_RANGE)) if None in seeds else 0
            seeds = [base + i if s is None else s for i, s in enumerate(seeds)]
        which = range(self.num_envs) if mask is None else np.flatnonzero(mask).tolist()
        seeded = [i for i in which if seeds[i] is not None]
        onward = [i for i in which if seeds[i] is None]
        for group, values in ((seeded, [seeds[i] for i in seeded]), (onward, None)):
            if group:
                self._start(group, cast("list[int] | None", values), self._of_group(options, group))
        if mask is None:
            self._ended[:] = False
        else:
            self._ended[mask] = False
        self._waiting, self._like = bool(self._ended.any()), None
        if self.render_mode == "human":
            self.render()
        return self._give(self.rows.observation()), self._no_info()

    def _of_group(self, options: dict[str, Any] | None, group: list[int]) -> dict[str, Any]:
        """The system's options; of a sequence of one a row, the part of some rows."""
        given = {k: v for k, v in (options or {}).items() if k != "reset_mask"}
        rowwise = [k for k, v in given.items() if _is_one_a_row(v, self.num_envs)]
        return given | {k: [given[k][i] for i in group] for k in rowwise}

    def _start(
        self, group: list[int], seeds: list[int] | None, options: dict[str, Any] | None = None
    ) -> None:
        device = self.system.device
        values = None if seeds is None else torch.tensor(seeds, device=device)
        index = None if len(group) == self.num_envs else torch.tensor(group, device=device)
        self.rows.start(index, values, options)

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """One seed a row; also remembers them for ``np_random_seed``."""
        if seed is None:
            return [None] * self.num_envs
        is_many = isinstance(seed, Sequence) or (isinstance(seed, np.ndarray) and seed.ndim > 0)
        if is_many and not isinstance(seed, str | bytes):
            many = cast("Sequence[int | None]", seed)
            seeds = [None if s is None else check_row_seed(s) for s in many]
        else:
            base = check_row_seed(seed)
            seeds = [check_row_seed(base + i) for i in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise SeedError(f"seed: {len(seeds)} of them; allowed: num_envs={self.num_envs}")
        first = next((s for s in seeds if s is not None), None)
        if first is not None:
            super().reset(seed=first)
        return seeds

    def _mask(self, options: dict[str, Any] | None) -> NDArray[np.bool_] | None:
        """The reset mask; it stays in ``options``, where wrappers look for it."""
        check_mapping(options)
        if not options:
            return None
        known = ("reset_mask", *self.system.reset_options)
        unknown = [name for name in options if name not in known]
        if unknown:
            odd, allowed = (", ".join(map(repr, names)) for names in (unknown, known))
            raise OptionsError(f"options: unknown {odd}; allowed: {allowed}")
        if "reset_mask" not in options:
            return None
        mask = options["reset_mask"]
        if isinstance(mask, Tensor) and _is_dense_bool(mask):
            mask = mask.cpu().numpy()
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"reset_mask: {type(mask).__name__}; allowed: a NumPy array of bool")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"reset_mask: shape {mask.shape}; allowed: ({self.num_envs},)")
        if not mask.any():
            raise ValueError("reset_mask: all False; allowed: at least one True")
        return mask

    # ------------------------------------------------------------------- step

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Advance all rows; ``infos`` holds each metric as an array with its ``_name`` mask.

        Raises:
            ActionError: wrong shape or number, not finite, or outside the space.
            StateError: before the first reset; in mode Disabled, a row that has ended.
        """
        out, observation, restarted = self.transition(actions)
        infos = self._infos(out, None if self._next_step else restarted)
        reward, terminated, truncated = out.reward, out.terminated, out.truncated
        if restarted is not None and not self._next_step:
            self._add_final(infos, out)
        if self.render_mode == "human":
            self.render()
        give = self._give
        return give(observation), give(reward), give(terminated), give(truncated), infos

    @property
    def _next_step(self) -> bool:
        return self.autoreset_mode is AutoresetMode.NEXT_STEP

    def transition(self, actions: Any) -> Transition:
        """The step as tensors, with autoreset: what ``step`` and the SB3 view are made of."""
        if not self.rows.started:
            raise StateError("step before reset: call reset() first")
        if self._waiting:
            pending = self._ended
            if self.autoreset_mode is AutoresetMode.DISABLED:
                rows = np.flatnonzero(pending)[:8].tolist()
                raise StateError(f"step after the end of rows {rows}: reset them with a reset_mask")
            return self._restart_instead(actions, pending)
        out = self.rows.advance(self._reader.read(actions, self.num_envs))
        ended = (out.terminated | out.truncated).cpu().numpy()
        any_ended = bool(np.count_nonzero(ended))
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            self._ended, self._waiting = ended, any_ended
            self._like = out if any_ended and ended.all() else None
            return Transition(out, out.observation, None)
        if not any_ended:
            return Transition(out, out.observation, None)
        index, observation = self._restart(ended, out)
        return Transition(out, observation, index)

    def _restart(self, ended: NDArray[np.bool_], out: Outcome) -> tuple[Tensor, Observation]:
        """The rows that begin again, and what all rows see then."""
        index = torch.from_numpy(np.flatnonzero(ended)).to(self.system.device)
        if ended.all():
            return index, self.rows.start()
        first = self.rows.start(index)
        return index, tree_map(lambda o, f: o.index_copy(0, index, f), out.observation, first)

    def _restart_instead(self, actions: Any, pending: NDArray[np.bool_]) -> Transition:
        """NEXT_STEP: rows that ended ignore their action, and return their first observation."""
        try:
            action = self._reader.read(actions, self.num_envs)
        except ActionError:
            # What an ended row hands in does not matter, so only the others' must be in the space.
            action = self._reader.read(_patched(actions, pending), self.num_envs)
        # Where every row has ended nothing goes on, and only the shapes of a step are wanted.
        out = self._like or self.rows.advance(action)
        self._like = None
        index, observation = self._restart(pending, out)
        blank = torch.from_numpy(pending).to(self.system.device)
        zeroed = Outcome(
            observation=observation,
            reward=_blank(out.reward, blank),
            terminated=_blank(out.terminated, blank),
            truncated=_blank(out.truncated, blank),
            metrics=_blank(out.metrics, blank),
            diagnostics={k: _blank(v, blank) for k, v in out.diagnostics.items()},
        )
        self._ended = (zeroed.terminated | zeroed.truncated).cpu().numpy()
        self._waiting = bool(self._ended.any())
        return Transition(zeroed, observation, index)

    # ------------------------------------------------------------------ infos

    def _infos(self, out: Outcome, blank_rows: Tensor | None) -> dict[str, Any]:
        metrics, diagnostics = out.metrics, out.diagnostics
        if blank_rows is not None:  # restarted in this step: theirs is the info of a reset
            metrics = metrics.index_fill(0, blank_rows, 0)
            diagnostics = {k: v.index_fill(0, blank_rows, 0) for k, v in diagnostics.items()}
        return self._named(metrics, diagnostics, self._everyone)

    def _named(
        self, metrics: Tensor, diagnostics: dict[str, Tensor], mask: NDArray[np.bool_]
    ) -> dict[str, Any]:
        """Every metric as an array of its own, each with its mask."""
        columns = self._give(metrics).T
        infos: dict[str, Any] = dict(zip(self.rows.metric_names, columns, strict=True))
        infos.update(dict.fromkeys(self._mask_names, mask))
        for name, value in diagnostics.items():
            infos[name] = self._give(value)
            infos[f"_{name}"] = mask
        return infos

    def _add_final(self, infos: dict[str, Any], out: Outcome) -> None:
        ended = (out.terminated | out.truncated).cpu().numpy()
        infos["final_obs"] = self._give(out.observation)
        infos["_final_obs"] = ended
        infos["final_info"] = self._named(out.metrics, out.diagnostics, ended)
        infos["_final_info"] = ended

    def _no_info(self) -> dict[str, Any]:
        """The infos of a reset: the keys and shapes of a step's, all zero."""
        like = torch.zeros(0, dtype=self.system.dtype, device=self.system.device)
        zeros = like.new_zeros((self.num_envs, len(self.rows.metric_names)))
        diagnostics = {
            m.name: like.new_zeros((self.num_envs, *m.shape))
            for m in self.system.metrics_up_to(self.system.info_level)
            if m.name not in self.rows.metric_names
        }
        return self._named(zeros, diagnostics, self._everyone)

    def _give(self, value: Observation) -> Any:
        return value if self.output == "torch" else to_numpy(value)

    # ------------------------------------------------------------------- rest

    def action_masks(self) -> NDArray[np.bool_] | None:
        """(num_envs, n) bool of allowed discrete actions; None where all always are."""
        mask = self.rows.action_mask()
        return None if mask is None else mask.cpu().numpy()

    def render(self) -> tuple[Any, ...] | None:
        """A frame of every row for ``"rgb_array"``; the first row's window for ``"human"``."""
        if self.render_mode == "human":
            self._screen.show(self.rows.state, 0)
            return None
        return tuple(self._screen.show(self.rows.state, i) for i in range(self.num_envs))

    def render_row(self, row: int) -> Any:
        """One row's frame, (height, width, 3) uint8."""
        return self._screen.show(self.rows.state, row)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window, if any."""
        self._screen.close()

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that decides how the rows go on; see `load_state_dict`."""
        saved = self.rows.state_dict()
        saved["rows.ended"] = torch.from_numpy(self._ended.copy())
        return saved

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Continue exactly from `state_dict` of an environment of the same kind.

        Raises:
            StateError: the tensors do not fit; nothing is changed then.
        """
        own, rest = split_saved(saved, {"rows.ended": torch.from_numpy(self._ended)})
        self.rows.load_state_dict(rest)
        self._ended = own["rows.ended"].cpu().numpy().copy()
        self._waiting, self._like = bool(self._ended.any()), None


def split_saved(
    saved: object, own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A saved state in two: the tensors that a view keeps itself, checked, and all others.

    Raises:
        StateError: it is no dictionary, or the view's own are missing or others.
    """
    if not isinstance(saved, Mapping):
        raise StateError(f"state: {type(saved).__name__}; allowed: a dictionary of tensors")
    mine = check_saved({k: saved[k] for k in own if k in saved}, own)
    return mine, {k: v for k, v in saved.items() if k not in own}


def _is_dense_bool(mask: Tensor) -> bool:
    is_dense = mask.layout is torch.strided and mask.device.type != "meta"
    return is_dense and mask.dtype is torch.bool


def _is_one_a_row(value: Any, rows: int) -> bool:
    """Whether an option is a sequence of one value a row."""
    try:
        return not isinstance(value, str) and np.shape(value) == (rows,)
    except ValueError:  # ragged; the system will say what is wrong with it
        return False


def _blank(value: Tensor, rows: Tensor) -> Tensor:
    return value.masked_fill(rows.reshape(-1, *(1,) * (value.dim() - 1)), 0)


def _patched(actions: Any, ended: NDArray[np.bool_]) -> Any:
    """The actions with those of ended rows replaced by the action of a row that goes on."""
    if isinstance(actions, dict):
        return {k: _patched(v, ended) for k, v in actions.items()}
    array = np.array(as_array("actions", actions))
    if array.shape[:1] != ended.shape or ended.all():
        return array
    array[ended] = array[np.flatnonzero(~ended)[0]]
    return array


def _mode(value: AutoresetMode | str) -> AutoresetMode:
    for mode in AutoresetMode:
        if value is mode or value in (mode.value, mode.name):
            return mode
    allowed = ", ".join(repr(m.value) for m in AutoresetMode)
    raise OptionsError(f"autoreset_mode={value!r}: allowed: {allowed}")

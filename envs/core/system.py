"""A System: one batched Markov process in torch, of which every environment is a thin view.

A system is four pure functions over tensors whose leading axis is the environment row: `start`
gives first states, `advance` one step, `observe` what the agent sees, `action_mask` what it may do.
Autoreset, time limits, seeds, devices and compilation belong to `sixgym.envs.core.rows.Rows`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws, DrawTable, Kind
from sixgym.envs.core.params import Params

if TYPE_CHECKING:
    import gymnasium as gym

    from sixgym.envs.core.render import Canvas

P = TypeVar("P", bound=Params)
S = TypeVar("S", bound=tuple[Tensor, ...])

Observation = Tensor | dict[str, Tensor]
"""A tensor (rows, ...) for a Box or Discrete space, a dictionary of them for a Dict space."""
Action = Tensor | dict[str, Tensor]
"""As `Observation`: Box actions are floats of the system's dtype, discrete ones int64."""


class Metric(NamedTuple):
    """A quantity of one step.

    Level 0 is the reward's terms and the costs, in every ``info``; those that are one number a row
    are summed over episodes and may enter a `Score`. Level 1 is diagnostics, computed only when
    ``info_level >= 1``.
    """

    name: str
    unit: str
    description: str
    level: int = 0
    shape: tuple[int, ...] = ()


class Score(NamedTuple):
    """A figure of merit of a set of episodes: sum of ``numerator`` over sum of ``denominator``.

    Both are names of level-0 metrics, or ``"reward"``; the denominator may also be ``"steps"``, or
    ``"episodes"``. A ratio of sums, not a mean of ratios. The first score of a system is the
    headline of its leaderboard. A score with a ``budget`` is a constraint: the leaderboard ranks a
    policy that breaks it below all that keep it.
    """

    name: str
    unit: str
    numerator: str
    denominator: str = "episodes"
    higher_is_better: bool = True
    description: str = ""
    budget: float | None = None


class Step(NamedTuple):
    """What one `System.advance` yields beside the new state."""

    reward: Tensor
    """(rows,) in the system's dtype."""
    terminated: Tensor
    """(rows,) bool: the episode ended by its own dynamics."""
    metrics: dict[str, Tensor]
    """Every metric of the system up to its ``info_level``, each (rows, *shape); without those in
    ``scalars``."""
    scalars: Tensor | None = None
    """(rows, n) the level-0 metrics that are one number, in their order, where the system has them
    side by side anyway. The base stacks them otherwise, which small batches feel."""


class System(ABC, Generic[P, S]):
    """Base of all systems.

    A subclass sets the spaces, the metrics, the scores and the two draw tables in ``__init__``, and
    writes the pure functions. It must not reduce over the row axis: row i knows nothing of row j.

    Args:
        params: the validated parameters.
        dtype: float32 or float64 of the physics; observations are float32 in both.
        device: where all tensors live.
        info_level: 0 computes level-0 metrics, 1 all.
    """

    params_type: ClassVar[type[Params]]
    metrics: ClassVar[tuple[Metric, ...]] = ()
    scores: ClassVar[tuple[Score, ...]] = (Score("return", "1", "reward"),)
    contains_solver: ClassVar[bool] = False
    """True for a step with an inner optimiser: exempt from compilation and from the ban on host
    synchronisation."""
    starts_often: ClassVar[bool] = False
    """True if episodes last a step or a few: where the step is compiled, the start of an episode is
    compiled too, on a CPU."""
    reset_options: ClassVar[tuple[str, ...]] = ()
    """Names of the options of ``reset`` that `with_options` understands."""
    version: ClassVar[int] = 0
    """The N of the id's -vN: changes with dynamics, reward or spaces."""
    reward_parts: tuple[str, ...] = ()
    """Level-0 metrics that the single environment hands out as a vector reward, in the convention
    of MO-Gymnasium; every other view keeps the scalar. Empty where the reward is a scalar."""
    reward_space: gym.Space[object] | None = None
    """Bounds of the vector reward."""

    observation_space: gym.Space[object]
    action_space: gym.Space[object]
    start_draws: DrawTable
    step_draws: DrawTable

    def __init__(
        self,
        params: P,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        self.params = params
        self.dtype = dtype
        self.device = torch.device(device)
        self.info_level = info_level

    @abstractmethod
    def start(self, noise: Draws) -> S:
        """First states, one for each row of the noise (drawn by ``start_draws``)."""

    @abstractmethod
    def advance(self, state: S, action: Action, noise: Draws) -> tuple[S, Step]:
        """One step of every row; pure.

        Args:
            state: tensors (rows, ...), not changed.
            action: within the action space; see `Action`.
            noise: drawn by ``step_draws``.
        """

    @abstractmethod
    def observe(self, state: S) -> Observation:
        """What the agent sees of each row, within the observation space."""

    def with_options(self, state: S, options: Mapping[str, Any]) -> S:
        """First states as an option of ``reset`` wants them, for this episode only.

        Args:
            state: what `start` gave; not changed.
            options: some of ``reset_options``, each one value or a sequence of one a row.

        Raises:
            OptionsError: a value is not allowed.
        """
        raise NotImplementedError(f"{type(self).__name__} knows no options of reset")

    def action_mask(self, state: S) -> Tensor | None:
        """(rows, n) bool of the discrete actions allowed now; None where all always are."""
        return None

    def draw(self, state: S, row: int, canvas: Canvas) -> None:
        """Paint one row's state; a system without a picture does not offer render modes."""
        raise NotImplementedError(f"{type(self).__name__} draws no picture")

    def describe(self, state: S, row: int) -> str:
        """One row's state in words, for ``render_mode="ansi"``; most systems have none."""
        raise NotImplementedError(f"{type(self).__name__} has no words for its state")

    @classmethod
    def has_picture(cls) -> bool:
        """Whether the class overrides `draw`."""
        return cls.draw is not System.draw

    @classmethod
    def has_words(cls) -> bool:
        """Whether the class overrides `describe`."""
        return cls.describe is not System.describe

    def draw_table(self, streams: Mapping[str, tuple[Kind, tuple[int, ...]]]) -> DrawTable:
        """A `DrawTable` on this system's device and in its dtype."""
        return DrawTable(streams, device=self.device, dtype=self.dtype)

    def metrics_up_to(self, level: int) -> tuple[Metric, ...]:
        """The metrics that are computed at an info level."""
        return tuple(m for m in self.metrics if m.level <= level)

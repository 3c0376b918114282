"""Behaviour cloning: a network that does what a policy without learning does, as far as it sees.

The teacher is one of the environment's baselines, by name. It plays in the worlds of training; what
was seen and what it did there are pairs to fit, by cross entropy where it chose and by squared
error where it set numbers. The student sees the observation only: a teacher that reads the model or
the future cannot be imitated in full, and how much is lost is what the student's score tells.

With DAgger (Ross, Gordon and Bagnell, AISTATS 2011) the student plays in later rounds and the
teacher says what it would have done there, so that the student learns where its own mistakes lead.
A teacher that remembers what it did before cannot be asked so.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sixgym.agents.algorithms import HYBRID, Cloning, linear
from sixgym.agents.config import TrainConfig
from sixgym.agents.demonstrations import Demonstrations, Pairs, joined, settings_of, system_of
from sixgym.agents.evaluate import acting_variant
from sixgym.agents.hybrid import (
    COMPONENT_MASK,
    LOG_STD_RANGE,
    REGION_MASK,
    hybrid_sizes,
    numbers_of,
    of_flat,
    or_first,
)
from sixgym.agents.policies import (
    Architecture,
    NeuralPolicy,
    Normalization,
    acting_spaces,
)
from sixgym.agents.sharing import Sharing
from sixgym.envs.core.game import Game
from sixgym.envs.core.system import System

EPSILON = 1e-8
"""Added to the variance that observations are divided by, as in VecNormalize."""
LEAST_DEVIATION = 1e-4
"""Of a Gaussian, in half widths of its bounds: a student without any error still has a density."""
FORBIDDEN = -1e8
"""Logit of what a mask forbids, as policies have it when they play."""

Visit = Callable[[int, NeuralPolicy], None]
"""Told the environment steps so far and the student, before the first round and after each."""
Told = Callable[["Epoch"], None]


class Epoch(NamedTuple):
    """One pass over the pairs."""

    round: int
    epoch: int
    """From 1 in each round."""
    loss: float
    """Mean over the pairs that are learned from, while learning."""
    held_out: float
    """Mean over the pairs that are held out, afterwards."""


class Lesson(NamedTuple):
    """Pairs as tensors."""

    features: Tensor
    """(pairs, width)."""
    said: Tensor
    """(pairs, ...)."""
    masks: Tensor | None
    """(pairs, choices) bool of what may be chosen."""
    counts: Tensor | None
    """(pairs, 1 + k) parts of a hybrid action that count; None of other actions."""

    def take(self, places: Tensor) -> Lesson:
        """Some of the pairs."""
        return Lesson(*(None if part is None else part[places] for part in self))  # type: ignore[arg-type]


# --- student --------------------------------------------------------------------------------------


def make_student(config: TrainConfig, seed: int) -> NeuralPolicy:
    """A fresh network for the environment of a configuration.

    Args:
        config: its environment, layers and normalisation.
        seed: of the first weights.
    """
    system = system_of(config.env, acting_variant(config, None)[1])
    sharing = Sharing(system) if config.shared else None
    made = acting_spaces(system, sharing)
    is_masked = sharing.group.is_masked if sharing is not None else _has_masks(system)
    network = settings_of(config).policy_kwargs
    architecture = Architecture(
        hidden=network.net_arch,
        activation=network.activation_fn,
        head="hybrid" if config.policy == HYBRID else "distribution",
        masked=is_masked,
    )
    wanted = config.normalize
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NeuralPolicy(
            architecture,
            made.observation,
            made.action,
            normalization=Normalization(clip=wanted.clip_observation, epsilon=EPSILON)
            if wanted.observation
            else None,
            sharing=sharing,
            name=config.name,
        )


def _has_masks(system: System[Any, Any]) -> bool:
    """Whether a system tells what is allowed."""
    if isinstance(system, Game):
        return any(group.is_masked for group in system.groups)
    return type(system).action_mask is not System.action_mask


def set_moments(student: NeuralPolicy, seen: Any) -> None:
    """Take mean and variance of observations for the student's normalisation, if it has one."""
    if student.normalization is None:
        return
    parts = seen if isinstance(seen, dict) else {"": seen}
    for key, part in parts.items():
        suffix = key and "_" + key
        whole = np.asarray(part, dtype=np.float64)
        for moment, value in (("mean", whole.mean(0)), ("var", whole.var(0))):
            student.get_buffer(f"observation_{moment}{suffix}").copy_(torch.as_tensor(value))


def lesson_of(student: NeuralPolicy, pairs: Pairs) -> Lesson:
    """The pairs as the student's network sees them."""
    space, head = student.action_space, student.architecture.head
    is_counted = isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
    said = torch.as_tensor(pairs.said, dtype=torch.int64 if is_counted else torch.float32)
    masks, counts = pairs.masks if student.architecture.masked else None, None
    if head == "hybrid":
        masks, counts = pairs.seen[REGION_MASK] > 0.5, pairs.seen[COMPONENT_MASK]
    return Lesson(
        student.features(pairs.seen),
        said.reshape(len(said), -1),
        None if masks is None else torch.as_tensor(masks, dtype=torch.bool),
        None if counts is None else torch.as_tensor(counts, dtype=torch.float32),
    )


# --- loss -----------------------------------------------------------------------------------------


def losses(student: NeuralPolicy, lesson: Lesson) -> Tensor:
    """(pairs,) how far the student is from what the teacher said.

    Cross entropies of choices, in nats, are summed over the choices of an action; squared errors of
    numbers are in half widths of their bounds, the mean of a Box, the sum of a hybrid action. What
    a mask forbids and the teacher said nevertheless (the game reads it as something else) is not
    learned.
    """
    output = student.head(student.hidden(lesson.features))
    space = student.action_space
    if student.architecture.head == "hybrid":
        return _of_parts(student, output, lesson)
    if isinstance(space, spaces.Box):
        return _distance(space, output, lesson.said).square().mean(1)
    if isinstance(space, spaces.MultiBinary) and not student.architecture.masked:
        entropies = functional.binary_cross_entropy_with_logits(
            output, lesson.said, reduction="none"
        )
        return entropies.sum(1)
    return _of_choices(output, lesson.said.long(), student.choice_sizes, lesson.masks)


def _of_choices(output: Tensor, said: Tensor, sizes: list[int], masks: Tensor | None) -> Tensor:
    """(pairs,) cross entropies of choices among what is allowed."""
    total = output.new_zeros(len(output))
    allowed = torch.ones_like(output, dtype=torch.bool) if masks is None else masks
    logits = torch.where(allowed, output, torch.full_like(output, FORBIDDEN))
    parts = zip(logits.split(sizes, 1), allowed.split(sizes, 1), said.unbind(1), strict=True)
    for part, may, choice in parts:
        counts = may.gather(1, choice[:, None])[:, 0]
        total = total + functional.cross_entropy(part, choice, reduction="none") * counts
    return total


def _distance(space: spaces.Box, output: Tensor, said: Tensor) -> Tensor:
    """(pairs, numbers) in half widths of the bounds.

    Beyond a bound that the teacher is at there is none: the policy clips what it outputs.
    """
    low, high = _bounds(space)
    off = output - said
    off = torch.where((said >= high) & (off > 0.0), torch.zeros_like(off), off)
    off = torch.where((said <= low) & (off < 0.0), torch.zeros_like(off), off)
    return off / _half(space)


def _bounds(space: spaces.Box) -> tuple[Tensor, Tensor]:
    """(numbers,) of a Box."""
    low, high = (
        torch.as_tensor(b.reshape(-1), dtype=torch.float32) for b in (space.low, space.high)
    )
    return low, high


def _half(space: spaces.Box) -> Tensor:
    """(numbers,) half the distance of the bounds; 1 where there are none."""
    low, high = _bounds(space)
    half = 0.5 * (high - low)
    return torch.where(half.isfinite() & (half > 0.0), half, torch.ones_like(half))


def _of_parts(student: NeuralPolicy, output: Tensor, lesson: Lesson) -> Tensor:
    """(pairs,) of a choice and some numbers, of those parts that count."""
    assert lesson.masks is not None
    assert lesson.counts is not None
    n, _ = hybrid_sizes(student.observation_space, student.action_space)
    chosen, u = of_flat(lesson.said, n)
    entropy = _of_choices(output[:, :n], chosen[:, None], [n], or_first(lesson.masks))
    medians = numbers_of(output[:, n:], student.log_std).centre.sigmoid()
    errors = (2.0 * (medians - u)).square()
    return entropy * lesson.counts[:, 0] + (errors * lesson.counts[:, 1:]).sum(1)


# --- fit ------------------------------------------------------------------------------------------


def fit(
    student: NeuralPolicy,
    pairs: Pairs,
    settings: Cloning,
    generator: torch.Generator,
    *,
    held_rows: NDArray[np.bool_],
    round: int = 0,
    told: Told | None = None,
) -> float:
    """Fit the student until the pairs that are held out are no longer fitted better.

    Args:
        student: is changed; it ends with the weights that fitted best what is held out.
        pairs: to learn from.
        settings: batches, epochs, learning rate.
        generator: orders the pairs.
        held_rows: (rows,) whose pairs are held out.
        round: for ``told``.
        told: hears of every epoch.

    Returns:
        The loss of what is held out.
    """
    whole = lesson_of(student, pairs)
    is_held = torch.as_tensor(held_rows[pairs.row])
    held, known = (whole.take(torch.nonzero(chosen)[:, 0]) for chosen in (is_held, ~is_held))
    weights = [*student.hidden.parameters(), *student.head.parameters()]
    for weight in weights:
        weight.requires_grad_(True)
    first, last = linear(settings.learning_rate)
    optimizer = torch.optim.Adam(weights, lr=first)
    best, kept, patience = math.inf, copy.deepcopy(student.state_dict()), settings.patience
    for epoch in range(settings.n_epochs):
        for group in optimizer.param_groups:
            group["lr"] = first + (last - first) * epoch / settings.n_epochs
        loss = _pass(student, known, settings.batch_size, optimizer, generator)
        with torch.no_grad():
            missed = float(losses(student, held).mean())
        if told is not None:
            told(Epoch(round, epoch + 1, loss, missed))
        patience -= 1
        if missed < best:
            best, kept, patience = missed, copy.deepcopy(student.state_dict()), settings.patience
        if patience == 0:
            break
    student.load_state_dict(kept)
    student.requires_grad_(False)
    _set_deviation(student, held)
    return best


def _pass(
    student: NeuralPolicy,
    lesson: Lesson,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> float:
    """One pass over the pairs in a new order; the mean loss."""
    order = torch.randperm(len(lesson.features), generator=generator)
    total = 0.0
    for places in order.split(batch_size):
        each = losses(student, lesson.take(places))
        optimizer.zero_grad()
        each.mean().backward()
        optimizer.step()
        total += float(each.detach().sum())
    return total / len(order)


@torch.no_grad()
def _set_deviation(student: NeuralPolicy, held: Lesson) -> None:
    """The deviation of samples: the likeliest for a Box, the least that there is for parts."""
    space = student.action_space
    if not isinstance(space, spaces.Box):
        return
    if student.architecture.head == "hybrid":
        student.log_std.fill_(LOG_STD_RANGE[0])
        return
    output = student.head(student.hidden(held.features))
    off = _distance(space, output, held.said).square().mean(0).sqrt().clamp_min(LEAST_DEVIATION)
    student.log_std.copy_((off * _half(space)).log())


# --- rounds ---------------------------------------------------------------------------------------


def clone(config: TrainConfig, seed: int, visit: Visit, told: Told | None = None) -> int:
    """Make a student: demonstrations, a fit, and the rounds of DAgger.

    ``total_steps`` are divided evenly among the rounds.

    Args:
        config: what is to be imitated, and how.
        seed: of the network, the order of the pairs, and the block of the training worlds.
        visit: evaluates the student.
        told: hears of every epoch.

    Returns:
        Steps of the environment that were played.

    Raises:
        ConfigError: the teacher cannot be asked about states that it did not bring about.
    """
    settings = settings_of(config)
    student = make_student(config, seed)
    generator = torch.Generator().manual_seed(seed)
    held_rows = np.zeros(config.num_envs, dtype=bool)
    held_rows[config.num_envs - math.ceil(settings.holdout * config.num_envs) :] = True
    rounds = 1 + settings.dagger_rounds
    show = Demonstrations(config, seed)
    found: list[Pairs] = []
    played = 0
    visit(played, student)
    try:
        for round in range(rounds):
            wanted = math.ceil(config.total_steps * (round + 1) / rounds) - played
            if wanted <= 0:  # steps come by whole rows, of which a round may have had too many
                continue
            pairs, steps = show.collect(wanted, round, student if round else None)
            found, played = [*found, pairs], played + steps
            whole = joined(found)
            if round == 0:
                set_moments(student, whole.seen)
            fit(
                student,
                whole,
                settings,
                generator,
                held_rows=held_rows,
                round=round,
                told=told,
            )
            visit(played, student)
    finally:
        show.close()
    return played

"""One trial of a study: a training that is cut short, and the score that it has come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState, create_trial
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from sixgym.agents.algorithms import linear
from sixgym.agents.callbacks import EntropySchedule
from sixgym.agents.config import TrainConfig
from sixgym.agents.evaluate import Evaluator
from sixgym.agents.export import export_policy
from sixgym.agents.runs import torch_threads
from sixgym.agents.train import make_env, make_model
from sixgym.envs.core.errors import PolicyError, SixgymError

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

RUNGS = 4
"""A trial is looked at after each of so many parts of it, and scored after the last."""

UNPRUNED = 5
"""Trials that must be complete before one is stopped early."""


def run_trial(
    config: Mapping[str, Any],
    seed: int,
    cpu_seconds: float,
    others: Sequence[Mapping[str, float]],
    maximize: bool,
) -> dict[str, Any]:
    """Train until the time is over or all steps are done, and score the policy on tuning episodes.

    Args:
        config: what is trained, see `TrainConfig.plain`.
        seed: of the training.
        cpu_seconds: processor time of the training, what it is looked at included; setting up and
            the last evaluation are not.
        others: scores of the complete trials at each rung.
        maximize: whether more is better.

    Returns:
        ``value``: the last score; ``rungs``: those on the way, by rung; ``is_pruned``; ``steps``;
        ``cpu_seconds`` that it took.

    Raises:
        PolicyError: the training went to where there are no numbers, or its score is none.
    """
    wanted = TrainConfig.create(config)
    with torch_threads(wanted.threads), ExitStack() as stack:
        env = make_env(wanted)
        stack.callback(env.close)
        evaluator = Evaluator(wanted, world="tuning")
        stack.callback(evaluator.close)
        model = make_model(wanted, seed, env)
        model.set_logger(Logger(None, []))

        def score() -> float:
            value = evaluator(export_policy(model))[evaluator.headline.name]
            if value is None:
                raise PolicyError(f"the score {evaluator.headline.name} is not finite")
            return value

        def is_poor(rungs: Mapping[int, float]) -> bool:
            return _is_below_median(rungs, others, maximize)

        watch = Watch(cpu_seconds, wanted.total_steps, score, is_poor)
        callbacks: list[BaseCallback] = [watch]
        if isinstance(wanted.chosen.get("ent_coef"), list):
            callbacks.append(EntropySchedule(*linear(wanted.chosen["ent_coef"])))
        _learn(model, wanted.total_steps, callbacks)
        took = watch.seconds
        value = list(watch.rungs.values())[-1] if watch.is_pruned else score()
    return {
        "value": value,
        "rungs": watch.rungs,
        "is_pruned": watch.is_pruned,
        "steps": model.num_timesteps,
        "cpu_seconds": round(took, 3),
    }


def _learn(model: BaseAlgorithm, steps: int, callbacks: list[BaseCallback]) -> None:
    """SB3's loop.

    Raises:
        PolicyError: the networks gave what is no number.
    """
    try:
        model.learn(steps, callback=callbacks, log_interval=1_000_000)
    except SixgymError:
        raise
    except (ValueError, RuntimeError) as error:
        # Of parameters that are not numbers, torch's distributions make a ValueError; where their
        # checks are off, as SB3 has them, drawing a sample makes a RuntimeError.
        if isinstance(error, RuntimeError) and "nan" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise PolicyError(f"the training went astray: {reason}") from None


class Watch(BaseCallback):
    """Ends a training in time, and looks at it on the way.

    Args:
        cpu_seconds: of the process, after which it ends.
        total_steps: after which it ends by itself.
        score: the policy's, now.
        is_poor: whether what the rungs show is not worth going on.

    Attributes:
        rungs: scores on the way, by rung.
        is_pruned: whether it was stopped for them.
    """

    def __init__(
        self,
        cpu_seconds: float,
        total_steps: int,
        score: Callable[[], float],
        is_poor: Callable[[Mapping[int, float]], bool],
    ) -> None:
        super().__init__()
        self.cpu_seconds = cpu_seconds
        self.total_steps = total_steps
        self.score = score
        self.is_poor = is_poor
        self.rungs: dict[int, float] = {}
        self.is_pruned = False
        self._started = time.process_time()

    @property
    def seconds(self) -> float:
        """Processor time since the training began."""
        return time.process_time() - self._started

    def _on_training_start(self) -> None:
        self._started = time.process_time()

    def _on_step(self) -> bool:
        return not self.is_pruned and self.seconds < self.cpu_seconds

    def _on_rollout_start(self) -> None:
        """Between two rollouts, where SB3 has updated the policy."""
        done = max(self.seconds / self.cpu_seconds, self.num_timesteps / self.total_steps)
        rung = int(done * RUNGS)
        if rung in self.rungs or not 0 < rung < RUNGS:
            return
        self.rungs[rung] = self.score()
        self.is_pruned = self.is_poor(self.rungs)


def _is_below_median(
    rungs: Mapping[int, float], others: Sequence[Mapping[str, float]], maximize: bool
) -> bool:
    """Optuna's median rule: the best so far is worse than the median of the others at this rung.

    The others come as data, so that a worker needs no access to the study.
    """
    study = optuna.create_study(
        direction="maximize" if maximize else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=0),
    )
    for other in others:
        seen = {int(rung): value for rung, value in other.items()}
        if seen:
            ended = create_trial(
                state=TrialState.COMPLETE, value=list(seen.values())[-1], intermediate_values=seen
            )
            study.add_trial(ended)
    trial = study.ask()
    for rung, value in rungs.items():
        trial.report(value, rung)
    return bool(trial.should_prune())  # else NumPy's, which is not JSON

"""What happens between rollouts: evaluation, checkpoints, resuming; and the entropy schedule.

SB3 calls ``on_rollout_start`` at the head of its loop, after the update of the rollout before. That
is where a training is evaluated, saved and, in a new process, restored: the same line of the same
loop, so that nothing between the two differs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.callbacks import BaseCallback

from sixgym.agents import checkpoint, snapshot
from sixgym.agents.evaluate import Evaluator, Point, is_better
from sixgym.agents.export import export_policy
from sixgym.agents.logs import CsvTable, TensorBoardLog

if TYPE_CHECKING:
    from sixgym.agents.policies import AnyPolicy


class Boundary(BaseCallback):
    """Evaluates, saves and restores at rollout boundaries.

    Args:
        folder: of the checkpoints.
        identity: what a checkpoint must have been written with to be continued here.
        evaluator: plays the validation episodes.
        save_policy: writes an exported policy under ``"best"`` or ``"last"`` with its scores.
        table: receives the evaluations.
        board: receives the evaluations.
        evaluate_every: steps between evaluations; 0 evaluates only the first and the last policy.
        save_every: steps between checkpoints; 0 saves only the end.
        saved: a checkpoint to continue from.
        report: called with the steps done and the headline score after every rollout.
    """

    def __init__(
        self,
        *,
        folder: Path,
        identity: dict[str, Any],
        evaluator: Evaluator,
        save_policy: Callable[[AnyPolicy, str, Point], None],
        table: CsvTable,
        board: TensorBoardLog,
        evaluate_every: int,
        save_every: int,
        saved: checkpoint.Snapshot | None = None,
        report: Callable[[int, float | None], None] | None = None,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.identity = identity
        self.evaluator = evaluator
        self.save_policy = save_policy
        self.table = table
        self.board = board
        self.evaluate_every = evaluate_every
        self.save_every = save_every
        self.report = report
        self.curve: list[Point] = []
        self.best: Point | None = None
        self.seconds_before = 0.0
        self._saved_at = 0
        self._pending = saved
        self._started = time.monotonic()
        if saved is not None:
            self._read(saved.values["boundary"])

    @property
    def seconds(self) -> float:
        """Wall time of the training, over all processes that it took."""
        return self.seconds_before + time.monotonic() - self._started

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self._pending is not None:
            snapshot.restore(self.model, self._pending, str(self.folder / "last.json"))
            self.num_timesteps = self.model.num_timesteps
            self._pending = None
        else:
            self._visit(final=False)
        if self.report is not None:
            self.report(self.model.num_timesteps, self._headline(self.curve[-1]))

    def _on_training_end(self) -> None:
        self._visit(final=True)
        if self.report is not None:
            self.report(self.model.num_timesteps, self._headline(self.curve[-1]))

    def _visit(self, *, final: bool) -> None:
        """Evaluate and save where it is due: decided by the steps done alone."""
        step = self.model.num_timesteps
        last = self.curve[-1]["step"] if self.curve else None
        due = last is None or (0 < self.evaluate_every <= step - last)
        if due or (final and step != last):
            self._evaluate(step)
        if final or 0 < self.save_every <= step - self._saved_at:
            self._saved_at = step
            self._save("last", replay=True)

    def _evaluate(self, step: int) -> None:
        policy = export_policy(self.model)
        point: Point = {"step": step, **self.evaluator(policy)}
        self.curve.append(point)
        values = {k: v for k, v in point.items() if k != "step"}
        self.table.add(step, values)
        self.board.scalars(step, {f"eval/{k}": v for k, v in values.items()})
        self.save_policy(policy, "last", point)
        if is_better(self.evaluator.headline, point, self.best):
            self.best = point
            self.save_policy(policy, "best", point)
            if step > 0:
                # Without the replay buffer: the best state is for looking at, not for going on.
                self._save("best", replay=False)

    def _headline(self, point: Point) -> float | None:
        return point[self.evaluator.headline.name]

    def _save(self, name: str, *, replay: bool) -> None:
        taken = snapshot.take(self.model, replay=replay)
        taken.values["identity"] = self.identity
        taken.values["boundary"] = {
            "curve": self.curve,
            "best": self.best,
            "saved_at": self._saved_at,
            "seconds": self.seconds,
        }
        checkpoint.write(self.folder, name, taken)

    def _read(self, values: dict[str, Any]) -> None:
        self.curve, self.best = list(values["curve"]), values["best"]
        self._saved_at, self.seconds_before = values["saved_at"], values["seconds"]


class EntropySchedule(BaseCallback):
    """``ent_coef: [first, last]``: linear in the steps done, as SB3 schedules its learning rate.

    SB3 has no schedule for this coefficient. It is set at the end of a rollout to the value of the
    progress that the update after it sees.
    """

    def __init__(self, first: float, last: float) -> None:
        super().__init__()
        self.first = first
        self.last = last

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        model: Any = self.model
        done = min(1.0, model.num_timesteps / model._total_timesteps)
        model.ent_coef = self.first + (self.last - self.first) * done
        self.logger.record("train/ent_coef", model.ent_coef)

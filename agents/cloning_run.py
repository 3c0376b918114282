"""Behaviour cloning in the layout of a training: folder, tables, cards, what is done already."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sixgym.agents.cloning import Epoch, clone
from sixgym.agents.config import TrainConfig
from sixgym.agents.demonstrations import imitated
from sixgym.agents.evaluate import Evaluator, Point, is_better
from sixgym.agents.logs import CsvTable, TensorBoardLog, now, write_json
from sixgym.agents.policies import NeuralPolicy
from sixgym.agents.records import (
    RunResult,
    check_same,
    finished_record,
    identity,
    policy_writer,
    progress_bar,
    reporter,
)
from sixgym.agents.runs import origin
from sixgym.agents.tracking import tracked


def clone_seed(
    config: TrainConfig, seed: int, run: Path, *, wandb: bool, resume: bool
) -> RunResult:
    """Behaviour cloning in the layout of a training; a seed that is finished is not done again."""
    folder = run / f"seed_{seed}"
    record = {**origin(config.plain(), seed), "started": now(), "imitates": imitated(config)}
    known = _finished(config, seed, folder) if resume else None
    place: Path | None = None
    with ExitStack() as stack:
        evaluator = Evaluator(config)
        stack.callback(evaluator.close)
        if known is None:
            began = time.monotonic()
            write_json(folder / "run.json", {**record, "finished": None})
            if wandb:
                title = f"{config.name}-seed{seed}"
                _, place = stack.enter_context(
                    tracked(folder, name=title, group=config.name, config=config.plain())
                )
            board = TensorBoardLog(folder / "tensorboard")
            stack.callback(board.close)
            bar = stack.enter_context(progress_bar(config, seed, 0))
            visits = _Visits(config, seed, folder, record, evaluator, board, bar)
            steps = clone(config, seed, visits, visits.tell)
            known = {
                **record,
                "finished": now(),
                "steps": steps,
                "seconds": round(time.monotonic() - began, 3),
                "best": visits.best,
                "curve": visits.curve,
            }
            write_json(folder / "run.json", known)
        return RunResult(
            seed=seed,
            folder=folder,
            steps=known["steps"],
            seconds=known["seconds"],
            curve=known["curve"],
            best=known["best"],
            policy=folder / "policies" / "best.safetensors",
            figure=run / "learning_curve.png",
            wandb=place,
            score=evaluator.headline,
        )


class _Visits:
    """The evaluations of a student: its curve, its best policy, and what is written of them."""

    def __init__(
        self,
        config: TrainConfig,
        seed: int,
        folder: Path,
        record: dict[str, Any],
        evaluator: Evaluator,
        board: TensorBoardLog,
        bar: Any,
    ) -> None:
        self.curve: list[Point] = []
        self.best: Point | None = None
        self._evaluator, self._board = evaluator, board
        self._save = policy_writer(config, seed, folder, record)
        self._report = reporter(bar, evaluator.headline.name)
        self._evaluations = CsvTable(folder / "evaluations.csv")
        self._progress = CsvTable(folder / "progress.csv")
        self._epochs = 0

    def __call__(self, step: int, student: NeuralPolicy) -> None:
        """Evaluate, write, and keep the best of the students that were taught anything."""
        student.seed(0)  # as its weights begin when they are loaded: the same samples again
        values = self._evaluator(student)
        point: Point = {"step": step, **values}
        self.curve.append(point)
        self._evaluations.add(step, values)
        self._board.scalars(step, {f"eval/{k}": v for k, v in values.items()})
        self._save(student, "last", point)
        if step > 0 and is_better(self._evaluator.headline, point, self.best):
            self.best = point
            self._save(student, "best", point)
        self._report(step, values[self._evaluator.headline.name])

    def tell(self, epoch: Epoch) -> None:
        """Write one pass; its step is the number of passes so far, not of the environment's."""
        self._epochs += 1
        values = {"loss": epoch.loss, "held_out": epoch.held_out}
        self._progress.add(self._epochs, {"round": epoch.round, "epoch": epoch.epoch, **values})
        self._board.scalars(self._epochs, {f"fit/{k}": v for k, v in values.items()})


def _finished(config: TrainConfig, seed: int, folder: Path) -> dict[str, Any] | None:
    """The record of a seed that is done; None if it is not.

    Raises:
        CheckpointError: it was done with another configuration, or its record cannot be read.
    """
    record = finished_record(folder)
    if record is None:
        return None
    written = identity(TrainConfig.create(record["config"]), record.get("seed", seed))
    check_same(folder / "run.json", written, config, seed)
    return record

"""Logging to Weights & Biases, offline unless the environment says otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from stable_baselines3.common.callbacks import BaseCallback


class Tracked(NamedTuple):
    """A run of Weights & Biases that is under way."""

    callback: BaseCallback
    folder: Path
    """Where its files are; ``run-<id>.wandb`` for an offline run."""


@contextmanager
def tracked(folder: Path, *, name: str, group: str, config: dict[str, Any]) -> Iterator[Tracked]:
    """A run around one training, by W&B's own SB3 callback and its TensorBoard sync.

    The callback alone logs no metric: the sync carries SB3's ``rollout/`` and ``train/`` values,
    so this must be entered before the TensorBoard writer is made. No model is uploaded
    (``model_save_path`` would pickle one).

    Args:
        folder: under which W&B makes its own ``wandb/``.
        name: of the run.
        group: what the seeds of one configuration share.
        config: shown with the run.
    """
    import wandb
    from wandb.integration.sb3 import WandbCallback

    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "sixgym"),
        name=name,
        group=group,
        config=config,
        dir=str(folder),
        mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
        sync_tensorboard=True,
        save_code=False,
        settings=wandb.Settings(console="off", silent=True),
    )
    code = 1
    try:
        yield Tracked(WandbCallback(model_save_path=None), Path(run.dir).parent)
        code = 0
    finally:
        run.finish(exit_code=code)

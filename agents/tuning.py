"""Hyper-parameters by search: a study of short trainings, scored on worlds of their own.

Optuna draws them (tree-structured Parzen estimator, seeded) and stops poor trials early (median
rule); the study is an SQLite file that only this process writes, so that it goes on where it was
whatever ended it. Trials train on the worlds of a seed that no configuration uses and are scored on
the tuning worlds, which training, validation and evaluation never meet.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import yaml
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import DatabaseError
from tqdm import tqdm  # type: ignore[import-untyped]

from sixgym.agents.config import TrainConfig
from sixgym.agents.engine import Done, Engine, Job, run_jobs
from sixgym.agents.figures import study_history
from sixgym.agents.logs import commit, versions, write_json
from sixgym.agents.records import identity
from sixgym.agents.search_spaces import Space, changed, draw, space_of
from sixgym.agents.train import check, system_name
from sixgym.agents.trials import RUNGS, UNPRUNED
from sixgym.envs.core.errors import ConfigError, OptionsError, SixgymError
from sixgym.envs.core.registry import entry
from sixgym.envs.core.system import Score

FIRST_SEED = 1_000
"""Trials train with the first seed from here that the configuration does not."""

RANDOM_TRIALS = 6
"""Trials that are drawn at random before the sampler models anything."""

IMPORTANCE_TRIALS = 6
"""Complete trials that are the least of which to say what mattered."""


class TuneResult(NamedTuple):
    """A finished study."""

    best: Path
    """A configuration, ready to train."""
    summary: Path
    """All trials, the best, what mattered, versions, as JSON."""
    figure: Path
    """Scores over trials."""
    content: dict[str, Any]
    """What ``summary`` says."""


def tune(
    name_or_path: str | Path,
    overrides: Sequence[str] = (),
    *,
    trials: int = 20,
    minutes: float = 1.0,
    space: Path | None = None,
    seed: int = 0,
    engine: Engine = "local",
    workers: int | None = None,
    output: Path | None = None,
) -> TuneResult:
    """Search the hyper-parameters of a configuration, or go on with a search that was interrupted.

    The first trial is the configuration as it is written. A trial is the first ``minutes`` of the
    whole training (its schedules too), or all of it if that is shorter: what learns fast is
    preferred. A trial that an interruption cut off is marked failed and done again.

    Args:
        name_or_path: a YAML file or a shipped name.
        overrides: ``a.b=value`` each.
        trials: how many in all, those of earlier calls included.
        minutes: of processor time for each.
        space: a file that narrows `sixgym.agents.search_spaces`.
        seed: of the sampler. With one worker, and trials that end by their steps, it decides all.
        engine: see `sixgym.agents.engine.run_jobs`.
        workers: trials at a time; on this machine 1 unless told otherwise.
        output: folder of all runs instead of the configuration's; the study is in its ``tune/``.

    Raises:
        ConfigError: the configuration, the file of the space, or a study of the same name that was
            begun with other arguments.
        OptionsError: a wrong number.
        SixgymError: no trial could be finished.
    """
    for name, value in (("trials", trials), ("minutes", minutes)):
        if not value > 0:
            raise OptionsError(f"{name}={value}: allowed: more than 0")
    config = TrainConfig.load(name_or_path, overrides)
    spaces = space_of(config, space)
    check(config)
    root = Path(config.output) if output is None else output
    folder = root / "tune" / system_name(config.env)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / f"{config.name}.lock"):
        search = Search(config, spaces, folder / f"{config.name}.db", minutes, seed)
        search.run(trials, engine, workers)
        return search.finish(folder / config.name)


class Search:
    """A study and what it takes to go on with it.

    Args:
        config: as written.
        space: what is tuned.
        path: the study's file.
        minutes: of processor time for each trial.
        seed: of the sampler.
    """

    def __init__(
        self, config: TrainConfig, space: Space, path: Path, minutes: float, seed: int
    ) -> None:
        self.config = config
        self.space = space
        self.minutes = minutes
        self.seed = seed
        self.score: Score = entry(config.env).load_system().scores[0]
        self.training_seed = config.seeds[0]
        if config.start is None:  # else the weights to begin with are those of its seeds
            free = (k for k in itertools.count(FIRST_SEED) if k not in config.seeds)
            self.training_seed = next(free)
        self.study = _open(path, config.name, maximize=self.score.higher_is_better)
        self._agree(path)
        self._open_trials: dict[int, Trial] = {}
        self._mend()

    def run(self, trials: int, engine: Engine, workers: int | None) -> None:
        """Do what is missing of so many trials."""
        at_once = 1 if workers is None and engine == "local" else workers
        jobs = self._jobs(trials, constant_liar=at_once != 1)
        done = sum(trial.state.is_finished() for trial in self._counted())
        with tqdm(
            total=trials,
            initial=min(done, trials),
            desc=f"tune {self.config.name}",
            unit="trial",
            dynamic_ncols=True,
        ) as bar:
            for ended in run_jobs(jobs, engine=engine, workers=at_once):
                self._tell(ended)
                best = self._best()
                if best is not None:
                    bar.set_postfix_str(f"{self.score.name} {best.value:.4g}", refresh=False)
                bar.update()

    def finish(self, folder: Path) -> TuneResult:
        """Write what was found.

        Raises:
            SixgymError: nothing was.
        """
        best = self._best()
        if best is None:
            reasons = [t.user_attrs["error"] for t in self._counted() if "error" in t.user_attrs]
            told = reasons[0] if reasons else "none was begun"
            raise SixgymError(f"tune {self.config.name}: no trial was finished: {told}")
        folder.mkdir(exist_ok=True)
        content = self._summary(best)
        summary = folder / "study.json"
        write_json(summary, content)
        figure = study_history(
            folder / "history.png", content["trials"], self.score, f"{self.config.name}: tuning"
        )
        path = folder / "best.yaml"
        path.write_text(self._best_yaml(best), encoding="utf-8")
        return TuneResult(path, summary, figure, content)

    def _agree(self, path: Path) -> None:
        """Refuse to mix trials that cannot be compared.

        Raises:
            ConfigError: the study was begun with something else.
        """
        told = {
            **identity(self.config, self.training_seed),
            "minutes": self.minutes,
            "sampler seed": self.seed,
            "space": {key: [type(d).__name__, *d] for key, d in self.space.items()},
        }
        wanted = json.loads(json.dumps(told))
        written = self.study.user_attrs.get("identity")
        if written is None:
            self.study.set_user_attr("identity", wanted)
            return
        for key, value in wanted.items():
            if written.get(key) != value:
                raise ConfigError(
                    f"{path}: begun with {key}={written.get(key)!r}; now {value!r}; allowed: the "
                    "same, another name (--set name=...), or no such file"
                )

    def _mend(self) -> None:
        """Put down for another go the trials that somebody was at when the study was cut off."""
        for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
            gone = self._interrupted()
            if trial.number not in gone:
                self.study.set_user_attr("interrupted", [*gone, trial.number])
                kept = {k: v for k, v in trial.user_attrs.items() if k == "as_written"}
                self.study.enqueue_trial(trial.params, user_attrs=kept)
            self.study.tell(trial.number, state=TrialState.FAIL)
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial({}, user_attrs={"as_written": True})

    def _interrupted(self) -> list[int]:
        return list(self.study.user_attrs.get("interrupted", []))

    def _counted(self) -> list[FrozenTrial]:
        """Trials that were begun and not cut off."""
        gone = self._interrupted()
        return [
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state != TrialState.WAITING and trial.number not in gone
        ]

    def _best(self) -> FrozenTrial | None:
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return self.study.best_trial if complete else None

    def _jobs(self, trials: int, *, constant_liar: bool) -> Iterator[Job]:
        while (begun := len(self._counted())) < trials:
            # A sampler for each trial: what it draws depends on what is known, and not on which
            # trials this process has seen drawn.
            self.study.sampler = optuna.samplers.TPESampler(
                seed=self.seed * 1_000_003 + begun,
                n_startup_trials=RANDOM_TRIALS,
                constant_liar=constant_liar,
            )
            yield self._ask()

    def _ask(self) -> Job:
        trial = self.study.ask()
        changes = {}
        if not trial.user_attrs.get("as_written"):
            for key, dimension in self.space.items():
                changes[key] = draw(trial, key, dimension)
        self._open_trials[trial.number] = trial
        wanted = changed(self.config, changes)
        trial.set_user_attr("changes", changes)
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return Job(
            str(trial.number),
            "sixgym.agents.trials:run_trial",
            {
                "config": wanted.plain(),
                "seed": self.training_seed,
                "cpu_seconds": 60.0 * self.minutes,
                "others": [other.intermediate_values for other in complete],
                "maximize": self.score.higher_is_better,
            },
        )

    def _tell(self, ended: Done) -> None:
        trial = self._open_trials.pop(int(ended.key))
        if ended.error is not None:
            trial.set_user_attr("error", ended.error)
            self.study.tell(trial, state=TrialState.FAIL)
            return
        for name in ("steps", "cpu_seconds"):
            trial.set_user_attr(name, ended.value[name])
        for rung, value in ended.value["rungs"].items():
            trial.report(value, int(rung))
        if ended.value["is_pruned"]:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, ended.value["value"])

    def _summary(self, best: FrozenTrial) -> dict[str, Any]:
        told = [_told(trial) for trial in self._counted()]
        return {
            "format": "sixgym-study/1",
            "name": self.config.name,
            "env": self.config.env,
            "algorithm": self.config.algorithm,
            "score": {
                "name": self.score.name,
                "unit": self.score.unit,
                "higher_is_better": self.score.higher_is_better,
                "world": "tuning",
                "episodes": self.config.evaluation.episodes,
            },
            "minutes": self.minutes,
            "training_seed": self.training_seed,
            "sampler": f"TPE, seed {self.seed}, {RANDOM_TRIALS} random trials",
            "pruner": f"median at {RUNGS - 1} rungs, after {UNPRUNED} complete trials",
            "space": {k: {type(d).__name__: list(d)} for k, d in self.space.items()},
            "interrupted": len(self._interrupted()),
            "best": _told(best),
            "as_written": next((t["value"] for t in told if t["as_written"]), None),
            "importances": self._importances(),
            "trials": told,
            "config": self.config.plain(),
            "versions": {**versions(), "optuna": metadata.version("optuna")},
            "commit": commit(),
        }

    def _importances(self) -> dict[str, float]:
        """Share of the scores' variance that each hyper-parameter explains; empty of too few."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        values = {trial.value for trial in complete if trial.params}
        if len(values) < IMPORTANCE_TRIALS:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(
            self.study, evaluator=evaluator, params=list(self.space)
        )
        return {key: round(float(share), 4) for key, share in found.items()}

    def _best_yaml(self, best: FrozenTrial) -> str:
        """The best configuration as one would write it: what is the default is left out."""
        found = changed(self.config, best.user_attrs["changes"])
        fields = found.model_dump(mode="json", exclude_defaults=True)
        fields["hyperparameters"] = found.chosen
        for name in ("untuned", "output"):
            fields.pop(name, None)
        count = len(self._counted())
        head = (
            f"# Found by sixgym tune: trial {best.number} of {count}, {self.score.name} "
            f"{best.value:.6g} on the tuning worlds\n"
            f"# after {self.minutes:g} min of processor time.\n"
        )
        return head + yaml.safe_dump(fields, sort_keys=False)


def _told(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as the summary has it."""
    attrs = trial.user_attrs
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "as_written": bool(attrs.get("as_written")),
        "value": trial.value,
        "changes": attrs.get("changes", {}),
        "rungs": {str(rung): value for rung, value in trial.intermediate_values.items()},
        "steps": attrs.get("steps"),
        "cpu_seconds": attrs.get("cpu_seconds"),
        "error": attrs.get("error"),
    }


def _open(path: Path, name: str, *, maximize: bool) -> optuna.Study:
    """The study of a file, a new one if there is none.

    Raises:
        ConfigError: the file is not a study.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name=name,
            storage=RDBStorage(f"sqlite:///{path}"),
            direction="maximize" if maximize else "minimize",
            load_if_exists=True,
        )
    except (DatabaseError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path}: not a study: {reason}") from None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from the same study; whatever ends this process lets them in again.

    Raises:
        ConfigError: another process is at it.
    """
    with closing(sqlite3.connect(path, timeout=0.0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise ConfigError(f"{path}: another process is at this study") from None
        yield


def changes_of(trial: Mapping[str, Any]) -> str:
    """What a trial changed, in one line."""
    if trial["as_written"]:
        return "(as written)"
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in trial["changes"].items())

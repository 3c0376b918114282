"""Behaviour cloning: the student does what the teacher does, within masks, the same every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import toy_systems
from gymnasium import spaces
from torch import Tensor

from sixgym.agents import cloning
from sixgym.agents.cloning import clone, fit, losses, make_student
from sixgym.agents.config import TrainConfig
from sixgym.agents.demonstrations import Demonstrations, Pairs
from sixgym.agents.policies import NeuralPolicy, load_policy
from sixgym.agents.train import check, train
from sixgym.baselines import policy as baselines
from sixgym.baselines.policy import Baseline
from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.errors import CheckpointError, ConfigError, UnknownIdError
from sixgym.envs.core.params import Params
from sixgym.envs.core.registry import register
from sixgym.envs.core.system import Step, System
from sixgym.leaderboard.players import find_player

GAIN = np.array([[0.3, -0.5, 0.2], [0.1, 0.4, -0.3]], dtype=np.float32)
OFFSET = np.array([0.1, -0.2], dtype=np.float32)


class ScopeState(NamedTuple):
    """Three numbers."""

    place: Tensor  # (rows, 3)


class Scope(System[Params, ScopeState]):
    """Three numbers are seen, two set; the first of these moves what is seen next."""

    params_type = Params

    def __init__(self, params: Params, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.start_draws = self.draw_table({"place": ("uniform", (3,))})
        self.step_draws = self.start_draws

    def start(self, noise: Draws) -> ScopeState:
        return ScopeState(2.0 * noise["place"] - 1.0)

    def advance(self, state: ScopeState, action: Tensor, noise: Draws) -> tuple[ScopeState, Step]:
        drawn = 2.0 * noise["place"] - 1.0
        place = torch.cat([0.5 * (drawn[:, :1] + action[:, :1]), drawn[:, 1:]], 1)
        ended = torch.zeros(len(place), dtype=torch.bool)
        return ScopeState(place), Step(-place[:, 0].abs(), ended, {})

    def observe(self, state: ScopeState) -> Tensor:
        return state.place.to(torch.float32)


class Switches(System[Params, ScopeState]):
    """As `Scope`, with two switches to set."""

    params_type = Params

    def __init__(self, params: Params, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = spaces.MultiBinary(2)
        self.start_draws = self.draw_table({"place": ("uniform", (3,))})
        self.step_draws = self.start_draws

    start, observe = Scope.start, Scope.observe  # type: ignore[assignment]

    def advance(self, state: ScopeState, action: Tensor, noise: Draws) -> tuple[ScopeState, Step]:
        place = 2.0 * noise["place"] - 1.0
        ended = torch.zeros(len(place), dtype=torch.bool)
        return ScopeState(place), Step(place[:, 0], ended, {})


register("toy/Scope-v0", Scope, max_episode_steps=7)
register("toy/Switches-v0", Switches, max_episode_steps=7)
register("toy/Gate-v0", toy_systems.Gate, max_episode_steps=9)


class Linear:
    """Sets A x + b; counts how often it is asked."""

    name = "linear"

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def act(self, seen: Any) -> Any:
        return np.clip(np.asarray(seen) @ GAIN.T + OFFSET, -1.0, 1.0).astype(np.float32)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: Any = 1
    ) -> tuple[Any, Any]:
        self.asked.append(np.array(observation))
        return self.act(observation), None


class Through(Linear):
    """Goes through the open door."""

    name = "through"

    def act(self, seen: Any) -> Any:
        return np.asarray(seen).argmax(1)


class Sides(Linear):
    """Switches on where the number is positive."""

    name = "sides"

    def act(self, seen: Any) -> Any:
        return (np.asarray(seen)[:, :2] > 0.0).astype(np.int8)


class Alternating(Linear):
    """Remembers the step of the episode, 0 where one begins, and sets its parity."""

    name = "alternating"

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: Any = 1
    ) -> tuple[Any, Any]:
        step = np.zeros(len(observation)) if state is None else state
        step = np.where(episode_start, 0, step)
        both = np.repeat((step % 2)[:, None], 2, 1).astype(np.float32)
        return both, step + 1


TEACHERS = {
    "toy/Scope-v0": (Linear, Alternating),
    "toy/Gate-v0": (Through,),
    "toy/Switches-v0": (Sides,),
}
MADE: list[Linear] = []
"""The teachers that were made, newest last."""


@pytest.fixture(autouse=True)
def _teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toys have these baselines besides the generic ones."""
    generic = baselines.load_baselines

    def make(cls: type[Linear]) -> Any:
        def teacher(system: Any) -> Linear:
            MADE.append(cls())
            return MADE[-1]

        return teacher

    def found(id: str) -> dict[str, Baseline]:
        own = {
            cls.name: Baseline(cls.name, make(cls), "observation", "exact", "A toy's.")
            for cls in TEACHERS.get(id, ())
        }
        return generic(id) | own

    monkeypatch.setattr(baselines, "load_baselines", found)
    monkeypatch.setattr("sixgym.agents.train.learning_curve", lambda path, *_: path)


def toy(env: str = "toy/Scope-v0", teacher: str = "linear", **changes: Any) -> TrainConfig:
    hyper = {"teacher": teacher, "n_epochs": 4, "batch_size": 32, **changes.pop("hyper", {})}
    raw = {
        "name": "toy",
        "env": env,
        "algorithm": "bc",
        "num_envs": 16,
        "total_steps": 640,
        "hyperparameters": hyper,
        "evaluation": {"episodes": 4},
    }
    return TrainConfig.create({**raw, **changes})


def students(config: TrainConfig, seed: int = 0) -> list[NeuralPolicy]:
    """The student after each round."""
    seen: list[NeuralPolicy] = []
    clone(config, seed, lambda step, student: seen.append(student) if step else None)
    return seen


LINE = {"n_epochs": 40, "patience": 40, "learning_rate": "lin_5e-2"}


def test_a_linear_teacher_is_cloned_exactly() -> None:
    """Without hidden layers the student is A x + b itself."""
    config = toy(hyper={**LINE, "policy_kwargs": {"net_arch": []}})
    (student,) = students(config)
    assert np.allclose(student.head.weight.detach().numpy(), GAIN, atol=1e-3)
    assert np.allclose(student.head.bias.detach().numpy(), OFFSET, atol=1e-3)


def test_normalisation_is_of_what_the_teacher_saw_and_changes_no_action() -> None:
    config = toy(hyper={**LINE, "policy_kwargs": {"net_arch": []}}, normalize={"observation": True})
    (student,) = students(config)
    seen = np.concatenate(MADE[-1].asked)
    mean = student.get_buffer("observation_mean").numpy()
    assert np.abs(mean).max() < 0.2
    assert np.allclose(mean, seen.mean(0), atol=0.05)
    assert np.allclose(student.predict(seen[:50])[0], Linear().act(seen[:50]), atol=5e-3)


def test_beyond_a_bound_the_teacher_is_at_nothing_is_lost() -> None:
    """What is clipped to the same action is the same action; short of it there is an error."""
    student = make_student(toy(hyper={"policy_kwargs": {"net_arch": []}}), 0)
    with torch.no_grad():
        student.head.weight.zero_()
        student.head.bias.copy_(torch.tensor([1.5, -0.5]))
    said = np.array([[1.0, -1.0]], dtype=np.float32)
    pairs = Pairs(np.zeros((1, 3), np.float32), said, None, np.zeros(1, dtype=np.int64))
    loss = losses(student, cloning.lesson_of(student, pairs))
    assert loss.tolist() == pytest.approx([0.5 * 0.5**2])


def test_every_pair_is_an_observation_with_the_action_there() -> None:
    """Steps that only restart a row are none: the eighth pair is the next episode's first."""
    config = toy()
    show = Demonstrations(config, 3)
    pairs, steps = show.collect(320, 0)
    assert steps == len(pairs.said) >= 320
    assert np.array_equal(pairs.said, Linear().act(pairs.seen))
    assert np.bincount(pairs.row, minlength=16).min() >= 20
    again, _ = Demonstrations(config, 3).collect(320, 0)
    assert np.array_equal(again.seen, pairs.seen)
    other, _ = Demonstrations(config, 4).collect(320, 0)
    assert not np.isin(other.seen[:, 0], pairs.seen[:, 0]).any()


def test_a_teachers_memory_begins_anew_with_each_episode() -> None:
    """Seven steps of parity 0 1 0 1 0 1 0, then again 0: not the terminal observation's 1."""
    pairs, _ = Demonstrations(toy(teacher="alternating"), 0).collect(16 * 21, 0)
    said = pairs.said[pairs.row == 5][:, 0]
    assert said.tolist() == [0, 1, 0, 1, 0, 1, 0] * 3


def test_what_a_mask_forbids_is_neither_learned_nor_played() -> None:
    """The door above the open one is shut: no weight of the loss, whatever the logit says."""
    config = toy("toy/Gate-v0", "through")
    student = make_student(config, 0)
    assert student.architecture.masked
    seen = np.eye(4, dtype=np.float32)
    masks = np.roll(np.eye(4, dtype=bool), 1, axis=1) == 0
    with torch.no_grad():
        student.head.bias.copy_(torch.tensor([0.0, 30.0, 0.0, 0.0]))
    pairs = Pairs(seen, np.zeros(4, dtype=np.int64), masks, np.zeros(4, dtype=np.int64))
    loss = losses(student, cloning.lesson_of(student, pairs))
    assert loss[0] < 2.0  # of row 0 door 1, of the large logit, is shut
    assert (loss[1:3] > 20.0).all()
    assert loss[3] == 0.0  # door 0 is shut, and the teacher said it nevertheless
    assert student.predict(seen, action_masks=masks)[0][0] != 1
    (learned,) = students(toy("toy/Gate-v0", "through", hyper={"n_epochs": 30}))
    assert np.array_equal(learned.predict(seen, action_masks=masks)[0], np.arange(4))


def test_switches_are_cloned() -> None:
    (student,) = students(
        toy("toy/Switches-v0", "sides", hyper={"n_epochs": 30, "learning_rate": 1e-2})
    )
    seen = np.array([[0.4, -0.4, 0.1], [-0.4, 0.4, 0.1], [0.5, 0.6, -1.0]], np.float32)
    assert np.array_equal(student.predict(seen)[0], Sides().act(seen))


def test_dagger_asks_the_teacher_where_the_student_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A student that sets 1 always comes where the teacher never was; labels stay the teacher's."""
    config = toy(hyper={"dagger_rounds": 1})
    stubborn = make_student(config, 0)
    with torch.no_grad():
        stubborn.head.weight.zero_()
        stubborn.head.bias.fill_(1.0)
    show = Demonstrations(config, 0)
    alone, _ = show.collect(320, 0)
    led, _ = show.collect(320, 1, stubborn)
    assert led.seen[:, 0].mean() > alone.seen[:, 0].mean() + 0.3
    assert np.array_equal(led.said, Linear().act(led.seen))
    sizes: list[int] = []
    real = cloning.fit

    def counted(student: Any, pairs: Pairs, *rest: Any, **more: Any) -> float:
        sizes.append(len(pairs.said))
        return real(student, pairs, *rest, **more)

    monkeypatch.setattr(cloning, "fit", counted)
    assert len(students(config)) == 2
    assert 320 <= sizes[0] < sizes[1] < 640 + 2 * 16  # half the steps each; the second has both


def test_a_teacher_with_a_memory_is_not_asked_by_dagger() -> None:
    config = toy(teacher="alternating", hyper={"dagger_rounds": 2})
    with pytest.raises(ConfigError, match=r"dagger_rounds=2: alternating remembers .*: 0"):
        students(config)


def test_early_stopping_keeps_the_weights_that_fit_the_held_out_rows_best() -> None:
    config = toy(hyper={"n_epochs": 200, "patience": 3, "learning_rate": 0.3})
    student = make_student(config, 0)
    pairs, _ = Demonstrations(config, 0).collect(320, 0)
    held = np.arange(16) >= 12
    told: list[cloning.Epoch] = []
    generator = torch.Generator().manual_seed(0)
    settings: Any = config.hyperparameters
    best = fit(student, pairs, settings, generator, held_rows=held, told=told.append)
    assert len(told) < 200
    assert best == min(e.held_out for e in told)
    kept = pairs.row >= 12
    some = Pairs(pairs.seen[kept], pairs.said[kept], None, pairs.row[kept])
    again = float(losses(student, cloning.lesson_of(student, some)).mean())
    assert again == pytest.approx(best, rel=1e-5)


def test_a_seed_gives_the_same_student_and_another_another() -> None:
    one, same, other = (students(toy(), seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"teacher": "linea"}, UnknownIdError, "policy='linea': unknown; baselines of toy/Scope"),
        ({"hyper": {"n_epoch": 3}}, ConfigError, "did you mean n_epochs"),
        ({"hyper": {"gamma": 0.9}}, ConfigError, "gamma=0.9: no such field"),
        ({"hyper": {"holdout": 1.0}}, ConfigError, "holdout=1.0: allowed: less than 1"),
        ({"num_envs": 1}, ConfigError, "num_envs=1: allowed with algorithm='bc': 2 or more"),
        ({"normalize": {"reward": True}}, ConfigError, "normalize.reward=True: allowed with"),
        ({"finite_horizon": True}, ConfigError, "finite_horizon=True: allowed with algorithm='bc'"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        check(toy(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_teacher_of_other_actions_is_refused() -> None:
    """The reference of the block choice sets all controls instead."""
    config = TrainConfig.load("ris_noma/bc", ["hyperparameters.teacher=ao"])
    with pytest.raises(ConfigError, match="teacher='ao': acts in sixgym/RisNoma-v0; allowed: one"):
        check(config)
    odd = TrainConfig.load("event_offload/bc", ["env_kwargs.action_mode=pairs"])
    with pytest.raises(ConfigError, match=r"'lookup': .* action space is Box\(2,\); .*Disc"):
        check(odd)


def test_run_has_the_layout_of_a_training_and_a_finished_seed_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toy(seeds=[0, 1], hyper={"dagger_rounds": 1}, evaluation={"episodes": 4})
    first, second = train(config, output=tmp_path)
    assert first.folder == tmp_path / "scope" / "bc" / "toy" / "seed_0"
    record = json.loads((first.folder / "run.json").read_text())
    assert record["imitates"] == {"baseline": "linear", "sees": "observation", "kind": "exact"}
    assert first.curve[0]["step"] == 0
    assert len(first.curve) == 3
    assert first.best in first.curve[1:]
    assert len((first.folder / "evaluations.csv").read_text().splitlines()) == 4
    card = load_policy(first.policy).card
    assert card is not None
    assert card.about["imitates"] == record["imitates"]
    assert card.about["validation"] == first.best

    (second.folder / "run.json").write_text(
        json.dumps(json.loads((second.folder / "run.json").read_text()) | {"finished": None})
    )
    cloned: list[int] = []
    real = cloning.clone
    monkeypatch.setattr(
        "sixgym.agents.cloning_run.clone",
        lambda config, seed, *rest: cloned.append(seed) or real(config, seed, *rest),
    )
    again = train(config, output=tmp_path, resume=True)
    assert cloned == [1]
    assert [r.best for r in again] == [first.best, second.best]
    longer = TrainConfig.create(config.plain() | {"total_steps": 800})
    with pytest.raises(CheckpointError, match=r"run.json: written with total_steps=640; .* 800"):
        train(longer, output=tmp_path, resume=True)


def test_the_description_says_whom_a_shipped_student_imitates() -> None:
    said = find_player("sixgym/NetGptThreshold-v0", "bc").card.description
    assert said == "Trained by bc, imitates exact, which sees the model."
    assert "imitates" not in find_player("sixgym/NetGptThreshold-v0", "ppo").card.description


SMOKE = {
    "event_offload/multi_bc": {},
    "netgpt/batch_bc": {},
    "twin_mobility/bc": {"env_kwargs": {"mask_in_obs": True}},
}


@pytest.mark.parametrize("name", SMOKE)
def test_numbers_switches_and_hybrid_actions_of_the_shipped_ids(name: str, tmp_path: Path) -> None:
    """Shared numbers, switches over a Dict, and a shared choice with numbers."""
    plain = TrainConfig.load(name).plain()
    plain |= {"num_envs": 4, "total_steps": 40}
    plain["hyperparameters"] |= {"n_epochs": 2, "dagger_rounds": 0}
    plain["evaluation"] |= {"episodes": 2, "baselines": []}
    plain["env_kwargs"] |= {"max_episode_steps": 5}
    (run,) = train(TrainConfig.create(plain), output=tmp_path)
    assert run.steps >= 40
    rows = (run.folder / "progress.csv").read_text().splitlines()
    assert len(rows) == 3
    assert all(np.isfinite(float(x)) for x in rows[-1].split(","))
    assert load_policy(run.policy).card is not None

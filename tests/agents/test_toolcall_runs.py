"""From one YAML to a trained edge agent: settings, supervised start, improvement, files."""

from __future__ import annotations

import csv
import hashlib
import json
import math

import pytest
import torch

from sixgym.agents.toolcall import runs
from sixgym.agents.toolcall.__main__ import main
from sixgym.agents.toolcall.config import (
    BufferSettings,
    EvaluationSettings,
    ImproveSettings,
    SftSettings,
    ToolcallConfig,
    recipes,
)
from sixgym.agents.toolcall.files import load_card, load_edge, load_reward
from sixgym.agents.toolcall.grading import Examiner, grade, sequence_kl
from sixgym.agents.toolcall.improve import Buffer, Improver, collect
from sixgym.agents.toolcall.model import Sizes, ToolNet, prompt_tensor
from sixgym.agents.toolcall.runs import run, run_from_config
from sixgym.agents.toolcall.sft import Examples, fresh_net, rate, sft_data, train_sft
from sixgym.agents.toolcall.task import EASY, FULL, cloud_answers, draw
from sixgym.envs.core.errors import ConfigError, PolicyError, SixgymError

TINY = Sizes(16, 1, 2)
SMALL = {
    "name": "small",
    "sft": {"examples": 64, "steps": 3, "batch": 16},
    "buffer": {"prompts": 24},
    "reward_model": {"steps": 2, "batch": 8},
    "improve": {
        "iterations": 2,
        "prompts": 3,
        "group": 2,
        "minibatch": 4,
        "anchor_batch": 4,
        "cloud_batch": 4,
    },
    "evaluation": {"every": 1, "hard": 10, "easy": 5, "kl": 4},
}


def small(**improve) -> ToolcallConfig:
    return ToolcallConfig.create({**SMALL, "improve": {**SMALL["improve"], **improve}})


@pytest.fixture(scope="module")
def anchor() -> Examples:
    return Examples.of(draw(EASY, 40, 0, "test"))


@pytest.fixture(scope="module")
def buffer() -> Buffer:
    return collect(fresh_net(0, TINY), BufferSettings(prompts=40), 0)


def improver(anchor: Examples, net: ToolNet | None = None, **settings) -> Improver:
    chosen = {"prompts": 4, "group": 3, "anchor_batch": 8, "cloud_batch": 8} | settings
    return Improver(
        net or fresh_net(0, TINY), fresh_net(0, TINY), anchor, ImproveSettings(**chosen), seed=0
    )


@pytest.fixture
def no_figure(monkeypatch):
    """Runs without the seconds that a picture takes."""
    monkeypatch.setattr(runs, "draw_curves", lambda *_: None)


# -------------------------------------------------------------------------------------- settings


def test_defaults_are_the_dossiers():
    config = ToolcallConfig.create({"name": "x"})
    sft, rl = config.sft, config.improve
    assert (sft.examples, sft.batch, sft.learning_rate, sft.warmup) == (4_000, 64, 2e-3, 50)
    assert (sft.weight_decay, sft.grad_clip, sft.final_rate, sft.steps) == (0.01, 1.0, 0.1, 450)
    assert (rl.prompts, rl.group, rl.epochs, rl.minibatch, rl.iterations) == (16, 6, 2, 96, 150)
    assert (rl.learning_rate, rl.grad_clip, rl.clip) == (1e-3, 1.0, 0.2)
    assert rl.weights == (0.3, 0.05, 1.0, 1.0)
    assert (rl.anchor_batch, rl.cloud_batch) == (32, 48)
    assert (config.buffer.prompts, config.buffer.offloaded) == (3_000, 0.5)


def test_strict_paper_changes_defaults_and_yields_to_what_is_given():
    strict = ImproveSettings.model_validate({"strict_paper": True})
    assert (strict.prompts, strict.group, strict.learning_rate) == (24, 8, 3e-4)
    assert strict.weights == (1.0, 0.05, 0.5, 0.0)
    assert ImproveSettings.model_validate({"strict_paper": True, "kl_sft": 2.0}).kl_sft == 2.0


def test_every_recipe_is_valid_and_comes_back_from_plain_data():
    names = set(recipes())
    assert names == {
        "default",
        "dpo",
        "no_anchor",
        "no_trust_region",
        "reverse_kl_sft",
        "reward_model",
        "sft_continued",
        "strict_paper",
    }
    for name in names:
        config = ToolcallConfig.load(name)
        assert config.name == name
        assert ToolcallConfig.create(config.plain()) == config
    assert ToolcallConfig.load("no_anchor").improve.kl_sft == 0.0
    assert ToolcallConfig.load("dpo").improve.learning_rate == 3e-5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("improve.w_pg=-1.0", "improve.w_pg=-1.0: allowed: greater than or equal to 0"),
        ("improve.foo=1", "improve.foo: no such field"),
        ("improve.method=sac", "improve.method='sac': allowed: 'composite' or 'dpo'"),
        ("sft.mix=2", "sft.mix=2: allowed: less than or equal to 1"),
        ("seeds=[0, 0]", "seeds=[0, 0]: allowed: each seed once"),
        ("seeds=[-1]", "seeds.0=-1: allowed: greater than or equal to 0"),
        ("buffer.prompts=8", "improve.prompts=16: allowed: at most the 4 of the buffer"),
        ("improve={w_pg: 0, nll_cloud: 0}", "both 0; allowed: at least one positive"),
        ("name=../x", "name='../x': allowed"),
    ],
)
def test_mistakes_are_one_line(override, message):
    with pytest.raises(ConfigError) as caught:
        ToolcallConfig.load("default", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_recipe_is_told(tmp_path):
    with pytest.raises(ConfigError, match="did you mean default"):
        ToolcallConfig.load("defualt")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(ConfigError, match="a mapping of fields"):
        ToolcallConfig.load(tmp_path / "list.yaml")


def test_learning_rate_warms_up_and_falls_to_a_tenth():
    settings = SftSettings()
    assert rate(settings, 0) == pytest.approx(1 / 50)
    assert rate(settings, 49) == rate(settings, 50) == 1.0
    assert rate(settings, 250) == pytest.approx(0.55)
    assert rate(settings, 450) == pytest.approx(0.1)


# -------------------------------------------------------------------------------------- training


def test_supervised_steps_reduce_the_loss_and_follow_the_seed():
    settings = SftSettings(examples=200, steps=20, batch=16, warmup=3, learning_rate=2e-2)
    losses: list[float] = []
    net = train_sft(settings, 0, lambda _, loss: losses.append(loss), TINY)
    assert losses[0] == pytest.approx(math.log(117), abs=0.6)
    assert losses[-1] < 0.5 * losses[0]
    again, other = train_sft(settings, 0, None, TINY), train_sft(settings, 1, None, TINY)
    weight = net.body.token.weight
    assert torch.equal(weight, again.body.token.weight)
    assert not torch.equal(weight, other.body.token.weight)


def test_buffer_holds_the_least_likely_drafts_and_the_clouds_answers():
    net = fresh_net(0, TINY)
    items = draw(FULL, 40, 0, "service")
    kept = collect(net, BufferSettings(prompts=40, offloaded=0.25), 0)
    draft = net.generate(prompt_tensor([i.prompt for i in items]))
    order = draft.log_prob.sum(1).argsort()[:10].sort().values
    assert torch.equal(kept.draft.token, draft.token[order])
    assert kept.agrees == [False] * 10  # an untrained agent
    answers = cloud_answers(items, 0, "cloud")
    assert kept.calls == [answers[i] for i in order]
    both = kept.then(kept)
    assert len(both.calls) == len(both.prompt) == 20


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"schedule": "alternate"},
        {"anchor_prompts": "rl"},
        {"schedule": "alternate", "anchor_prompts": "rl", "kl_sft": 0.5},
        {"kl_reference": "sft"},
        {"kl_sft": 0.0},
        {"kl_old": 0.0},
        {"w_pg": 0.0, "kl_old": 0.0, "kl_sft": 0.0},
        {"method": "dpo"},
        {"strict_paper": True},
    ],
)
def test_every_way_moves_the_agent_and_follows_the_seed(settings, anchor, buffer):
    chosen = ImproveSettings.model_validate({"prompts": 4, "group": 3, "minibatch": 8} | settings)
    ends = []
    for _ in range(2):
        learner = Improver(fresh_net(0, TINY), fresh_net(0, TINY), anchor, chosen, seed=0)
        progress = [learner.iterate(buffer) for _ in range(2)]
        assert math.isfinite(progress[-1].loss)
        ends.append(learner.net.body.token.weight)
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], fresh_net(0, TINY).body.token.weight)


def test_dpo_widens_the_margin_of_the_clouds_answers(anchor, buffer):
    learner = improver(anchor, method="dpo", learning_rate=1e-2, epochs=1)
    losses = [learner.iterate(buffer).loss for _ in range(6)]
    assert losses[0] == pytest.approx(math.log(2.0), abs=1e-6)
    assert losses[-1] < 0.8 * losses[0]


def test_alternating_takes_as_many_anchor_steps_as_others(anchor, buffer, monkeypatch):
    learner = improver(anchor, schedule="alternate", minibatch=6)
    steps: list[tuple[bool, bool]] = []
    original = Improver._step

    def counted(self, *args, gain, anchor):
        steps.append((gain, anchor))
        return original(self, *args, gain=gain, anchor=anchor)

    monkeypatch.setattr(Improver, "_step", counted)
    learner.iterate(buffer)
    # 2 epochs of 12 samples in minibatches of 6.
    assert steps == [(True, False)] * 4 + [(False, True)] * 4


def test_first_step_has_no_divergence_from_the_policy_that_sampled(anchor, buffer):
    learner = improver(anchor, epochs=1)
    progress = learner.iterate(buffer)
    assert progress.kl_old == pytest.approx(0.0, abs=1e-7)
    assert progress.kl_sft == pytest.approx(0.0, abs=1e-7)
    assert progress.pg == pytest.approx(0.0, abs=0.5)


def test_nothing_to_learn_from_is_refused(anchor, buffer):
    empty = Buffer(buffer.prompt[:0], buffer.cloud[:0], buffer.draft[:0], [])
    with pytest.raises(SixgymError, match="buffer: empty"):
        improver(anchor).iterate(empty)
    agreed = buffer._replace(draft=buffer.draft._replace(token=buffer.cloud))
    assert all(agreed.agrees)
    with pytest.raises(SixgymError, match="every draft is the cloud's answer"):
        improver(anchor, method="dpo").iterate(agreed)
    with pytest.raises(SixgymError, match="reward='rm': allowed with a reward model"):
        improver(anchor, reward="rm")


def test_drift_of_an_agent_from_itself_is_nothing():
    net, other = fresh_net(0, TINY), fresh_net(1, TINY)
    examiner = Examiner(EvaluationSettings(hard=10, easy=5, kl=8), net)
    report = examiner.report(net)
    assert (report.kl_forward, report.kl_reverse) == pytest.approx((0.0, 0.0), abs=1e-6)
    moved = examiner.report(other)
    assert moved.kl_forward > 0.01
    assert moved.kl_reverse > 0.01
    prompt = prompt_tensor([i.prompt for i in draw(FULL, 4, 0, "test")])
    assert sequence_kl(net, other, prompt, net.generate(prompt)) > 0.0


# ------------------------------------------------------------------------------------------ runs


def test_run_writes_what_it_promises(tmp_path):
    (result,) = run(small(), tmp_path)
    assert result.folder == tmp_path / "toolcall" / "small" / "seed_0"
    record = json.loads((result.folder / "run.json").read_text())
    assert record["end"] == result.end._asdict()
    assert record["versions"]["torch"]
    assert len(record["success_by_difficulty"]["end"]) == 5
    with (result.folder / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    assert float(rows[-1]["hard_valid"]) == result.end.hard_valid
    assert rows[0]["reward"] == ""
    assert [step for step, _ in result.curve] == [0, 1, 2]
    assert result.figure.read_bytes().startswith(b"\x89PNG")
    card = load_card(result.folder / "edge")
    assert card.about["seed"] == 0
    assert ToolcallConfig.create(card.about["config"]) == small()
    assert grade(load_edge(result.folder / "edge"), draw(FULL, 5, 0, "test")).success == 0.0


def test_same_seed_gives_the_same_bytes(tmp_path, no_figure):
    digests = []
    for folder in ("a", "b"):
        (result,) = run(small(), tmp_path / folder)
        names = ("edge.safetensors", "edge.json", "sft.safetensors", "curve.csv")
        files = [(result.folder / name).read_bytes() for name in names]
        digests.append([hashlib.sha256(data).hexdigest() for data in files])
    assert digests[0] == digests[1]


def test_start_can_be_read_from_a_file(tmp_path, no_figure):
    (first,) = run(small(), tmp_path)
    start = str(first.folder.parent / "seed_{seed}" / "sft")
    again = ToolcallConfig.create({**small().plain(), "name": "again", "start": start})
    (second,) = run(again, tmp_path)
    assert second.end == first.end
    missing = ToolcallConfig.create({**small().plain(), "start": str(tmp_path / "none")})
    with pytest.raises(PolicyError, match="no such network"):
        run(missing, tmp_path)


def test_reward_model_is_trained_and_kept(tmp_path, no_figure):
    (result,) = run(small(reward="rm"), tmp_path)
    load_reward(result.folder / "reward")


def test_threads_of_torch_are_given_back_and_folders_not_overwritten(tmp_path, no_figure):
    before = torch.get_num_threads()
    first, second = (run(small(), tmp_path)[0].folder.parent.name for _ in range(2))
    assert torch.get_num_threads() == before
    assert (first, second) == ("small", "small-2")


def test_command_line(tmp_path, capsys, no_figure):
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({k: v for k, v in SMALL.items() if k != "name"}))
    assert main([str(path), "--set", "seeds=[3]", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "seed 3: " in told
    assert "end: hard_success 0.000" in told
    assert (tmp_path / "toolcall" / "mine" / "seed_3" / "edge.safetensors").is_file()
    assert main(["nothing", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: config='nothing'")


# --------------------------------------------------------------------------------- long trainings


@pytest.mark.slow
def test_default_recipe_improves_hard_requests_and_the_anchor_keeps_easy_ones(tmp_path):
    # The dossier's acceptance (4.7, last lines), on the mean of two seeds.
    reports = {}
    for name in ("default", "no_anchor"):
        results = run_from_config(name, ["seeds=[0, 1]", "evaluation.every=0"], tmp_path)
        reports[name] = [
            tuple(sum(column) / 2 for column in zip(*part, strict=True))
            for part in ([r.start for r in results], [r.end for r in results])
        ]
    (start, end), (_, loose) = reports["default"], reports["no_anchor"]
    hard, valid, easy = 0, 1, 2
    assert end[hard] >= start[hard] + 0.05
    assert end[easy] >= start[easy] - 0.03
    assert end[valid] >= 0.99
    assert loose[easy] < end[easy]


def test_supervised_set_is_the_anchors(anchor):
    data = sft_data(SftSettings(examples=20), 0)
    assert data.prompt.shape == (20, 34)
    picked = data.pick(7, torch.Generator().manual_seed(0))
    assert all(any(torch.equal(p, q) for q in data.prompt) for p in picked.prompt)

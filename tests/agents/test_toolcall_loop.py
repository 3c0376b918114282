"""The closed loop: service by real agents, answers as data, updates and refits on cadence."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sixgym.agents.toolcall.config import recipes
from sixgym.agents.toolcall.files import load_card, load_edge, shipped_edge
from sixgym.agents.toolcall.loop import NO_DRAFTS, Loop, OwnCloud, OwnEdge
from sixgym.agents.toolcall.loop_config import LoopConfig
from sixgym.agents.toolcall.loop_runs import LoopResult, Service, change_of, run_loop, told
from sixgym.agents.toolcall.loop_world import World
from sixgym.agents.toolcall.scorer import fit_scorer
from sixgym.agents.toolcall.task import FULL, cloud_answers, draw, generator
from sixgym.cli.main import app
from sixgym.envs.core.errors import ConfigError, SixgymError

SMALL: dict[str, Any] = {
    "name": "small",
    "env": {"num_requests": 6, "size_model": "deterministic"},
    "slots": 9,
    "update_every": 2,
    "scorer": {"requests": 60, "explore_eps": 0.2},
    "improve": {"iterations": 1, "prompts": 3, "group": 2, "anchor_batch": 4, "cloud_batch": 4},
    "sft": {"examples": 64},
    "evaluation": {"hard": 10, "easy": 5, "kl": 4},
}


def small(**changes: Any) -> LoopConfig:
    return LoopConfig.create({**SMALL, **changes})


def served(config: LoopConfig, seed: int = 0) -> Loop:
    """A loop after its last slot."""
    loop = Loop(config, seed, shipped_edge("sft"))
    for _ in range(config.slots):
        if loop.is_due():
            loop.update()
        loop.serve()
    return loop


@pytest.fixture(scope="module")
def done() -> Loop:
    return served(small())


# -------------------------------------------------------------------------------------- settings


def test_shipped_loop_is_the_dossiers_five_updates_of_sixty_steps() -> None:
    assert set(recipes("loops")) == {"default"}
    config = LoopConfig.load("default")
    updates = (config.slots - 1) // config.update_every
    assert (updates, config.improve.iterations, config.scorer.refresh_every) == (5, 60, 2)
    assert config.update_every * config.env_params.num_requests == 640
    assert LoopConfig.create(config.plain()) == config
    assert LoopConfig.load("default", ["improve.kl_sft=0.0"]).improve.iterations == 60


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("slots=0", "slots=0: allowed: greater than or equal to 1"),
        ("foo=1", "foo: no such field"),
        ("scorer.explore_eps=2", "scorer.explore_eps=2: allowed: less than or equal to 1"),
        ("improve.reward=rm", "improve.reward='rm': allowed: 'rule'"),
        ("threshold=best", "'analytic' or 'fitted'"),
        ("env.mode=pre", "env.mode='pre': allowed in the loop: 'cascade'"),
        ("env.queue=fluid", "env.queue='fluid': allowed in the loop: 'off'"),
        ("env.preset=learning", "env.self_improve=True: allowed in the loop: False"),
        ("env.preset=none", "preset='none': unknown"),
        ("env.bandwidth=3", "bandwidth"),
        ("seeds=[1, 1]", "allowed: each seed once"),
    ],
)
def test_mistakes_are_one_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LoopConfig.load("default", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_loop_is_told() -> None:
    with pytest.raises(ConfigError, match="did you mean default"):
        LoopConfig.load("defualt")


# --------------------------------------------------------------------------------------- service


@pytest.mark.parametrize("seed", [0, 1])
def test_same_seed_gives_the_same_slots_and_weights(seed: int) -> None:
    config = small(slots=5)
    one, other = served(config, seed), served(config, seed)
    assert one.slots == other.slots
    assert one.updates == other.updates
    assert one.net is not None
    assert other.net is not None
    for a, b in zip(one.net.parameters(), other.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_seeds_differ(done: Loop) -> None:
    assert served(small(slots=2), 1).slots != done.slots[:2]


def test_what_scores_below_the_threshold_goes_to_the_cloud() -> None:
    config = small(slots=4, update_every=9, scorer={"requests": 60, "explore_eps": 0.0})
    loop = served(config)
    for n, slot in enumerate(loop.slots):
        items = draw(FULL, 6, 0, "loop requests", 6 * n)
        score = loop.scorer.score(loop._edge.draft(items).features)
        assert slot.offload == np.mean(score < slot.tau)
        assert slot.explored == 0


def test_mean_over_networks_is_the_share_itself_where_the_network_stands_still() -> None:
    settings = {"requests": 60, "explore_eps": 0.0}
    frozen = served(small(slots=3, env={**SMALL["env"], "network": "frozen:P"}, scorer=settings))
    for slot in frozen.slots:
        assert slot.offload_mix == pytest.approx(slot.offload)
    tau = [0.81725 - 0.24 * r - 0.333338 / b - 0.11088
           for b, r in ((100, 0.02), (20, 0.06), (4, 0.15), (1, 0.3))]  # fmt: skip
    markov = World(small(env={**SMALL["env"], "network": "markov"}), 0)
    between = np.array([0.5 * (tau[2] + tau[1]), 0.5 * (tau[3] + tau[2])])
    assert markov.chance_below(between) == pytest.approx([12 / 20, 17 / 20])


def test_threshold_is_funcdyn_of_network_and_price(done: Loop) -> None:
    for s in done.slots:
        tau = 0.81725 - 0.24 * s.rtt - 0.333338 / s.bandwidth - 0.11088 * s.price_mult
        assert s.tau == pytest.approx(np.clip(tau, 0.0, 1.0), abs=1e-5)


def test_threshold_of_zero_keeps_and_of_one_offloads_everything() -> None:
    settings = {"requests": 60, "explore_eps": 0.0}
    kept = served(small(slots=2, threshold=0.0, scorer=settings))
    sent = served(small(slots=2, threshold=1, scorer=settings))
    for a, b in zip(kept.slots, sent.slots, strict=True):
        assert (a.offload, a.collected) == (0.0, 0)
        assert a.success == a.draft_success == b.draft_success
        assert b.offload == 1.0
        assert (a.bandwidth, a.rtt) == (b.bandwidth, b.rtt)  # the world does not mind
    items = draw(FULL, 12, 0, "loop requests")
    calls = cloud_answers(items, 0, "loop requests cloud")
    right = np.mean([c == i.answer for c, i in zip(calls, items, strict=True)])
    assert np.mean([s.success for s in sent.slots]) == pytest.approx(right)


def test_latency_price_and_utility_are_the_dossiers(done: Loop) -> None:
    """Dossier 6.1: L_e = .89 s, D = 4.16672 Mbit, T_c0 + n/mu = 1.6 s, P_c = .2772, weights."""
    for s in done.slots:
        assert s.offload is not None
        assert s.success is not None
        cloud = 3 * s.rtt + 4.16672 / s.bandwidth + 1.6
        assert s.latency == pytest.approx(0.89 + s.offload * cloud, abs=1e-4)
        assert s.price == pytest.approx(0.005 + s.offload * 0.2772 * s.price_mult, abs=1e-6)
        assert s.utility == pytest.approx(s.success - 0.08 * s.latency - 0.4 * s.price, abs=1e-6)


def test_shared_uplink_slows_each_other_down() -> None:
    alone, shared = (
        World(small(env={**SMALL["env"], "share_uplink": s}), 0) for s in (False, True)
    )
    sent = np.ones(6, dtype=bool)
    moment = alone.now()
    rise = (
        shared.bill(moment, sent, sent, sent).latency - alone.bill(moment, sent, sent, sent).latency
    )
    assert rise == pytest.approx(
        np.full(6, 5 * 4.16672 / float(moment.network.bandwidth)), abs=1e-4
    )


def test_collected_answers_are_the_offloaded_ones(done: Loop) -> None:
    sent = [round(s.requests * (s.offload or 0.0)) for s in done.slots]
    assert [s.collected for s in done.slots] == np.cumsum(sent).tolist()
    assert done.buffer is not None
    assert len(done.buffer.calls) + len(done.fresh) + len(done.set_aside) - 60 == sum(sent)
    assert {s.valid for s in done.slots} == {1.0}  # the own cloud never breaks the schema


def test_slot_without_requests_is_empty() -> None:
    config = small(slots=12, env={"num_requests": 1, "arrivals": "poisson"}, update_every=20)
    loop = served(config)
    empty = [s for s in loop.slots if not s.requests]
    assert empty
    assert {(s.offload, s.success, s.utility) for s in empty} == {(None, None, None)}
    assert Service.of(loop.slots).requests == sum(s.requests for s in loop.slots)
    assert Service.of(empty).success is None
    assert len(NO_DRAFTS.calls) == 0


def test_mean_over_slots_weighs_requests(done: Loop) -> None:
    a, b = done.slots[:2]
    mean = Service.of([a._replace(requests=3, success=1.0), b._replace(requests=1, success=0.0)])
    assert (mean.requests, mean.success) == (4, 0.75)


# -------------------------------------------------------------------------------------- learning


def test_updates_come_on_cadence_and_every_second_one_refits(done: Loop) -> None:
    assert [u.slot for u in done.updates] == [2, 4, 6, 8]
    assert [s.updates for s in done.slots] == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert [u.iterations for u in done.updates] == [1, 1, 1, 1]
    assert [u.agrees is not None for u in done.updates] == [False, True, False, True]


def test_edge_is_trained_on_all_answers_so_far(done: Loop) -> None:
    fresh = [u.fresh for u in done.updates]
    assert [u.buffer for u in done.updates] == np.cumsum(fresh).tolist()


def test_scorer_changes_only_where_it_is_refreshed() -> None:
    loop = Loop(small(slots=20, update_every=5), 0, shipped_edge("sft"))
    first = loop.scorer
    for _ in range(5):
        loop.serve()
    loop.update()
    assert loop.scorer is first
    for _ in range(5):
        loop.serve()
    assert loop.update().refreshed
    assert loop.scorer != first


def test_scorer_is_fitted_to_what_was_set_aside_as_the_updated_edge_drafts_it() -> None:
    config = small(slots=9, update_every=4, scorer={**SMALL["scorer"], "refresh_every": 1})
    loop = Loop(config, 0, shipped_edge("sft"))
    for _ in range(4):
        loop.serve()
    update = loop.update()
    assert loop.net is not None
    assert len(loop.set_aside) > 60
    drafts = OwnEdge(loop.net).draft([a.item for a in loop.set_aside])
    label = [call == a.call for call, a in zip(drafts.calls, loop.set_aside, strict=True)]
    assert loop.scorer == fit_scorer(drafts.features, label)
    assert update.agrees == np.mean(label)


def test_a_coin_sets_requests_aside_whatever_their_score_and_nobody_learns_from_them() -> None:
    loop = served(small(slots=8, update_every=20, scorer={"requests": 60, "explore_eps": 0.3}))
    picked = {
        6 * n + k
        for n in range(8)
        for k in np.flatnonzero(generator(0, "loop exploration", n).random(6) < 0.3)
    }
    items = draw(FULL, 48, 0, "loop requests")
    assert [a.item for a in loop.set_aside[60:]] == [items[i] for i in sorted(picked)]
    assert loop.fresh
    learned_from = {id(a) for a in loop.fresh}
    assert not learned_from & {id(a) for a in loop.set_aside}
    rest = [items[i] for i in range(48) if i not in picked]
    assert all(a.item in rest for a in loop.fresh)
    above = sum(s.explored for s in loop.slots)
    assert 0 < above < len(picked)  # some of them would have been offloaded in any case


def test_without_refresh_or_training_scorer_and_edge_stay() -> None:
    loop = served(small(train=False, scorer={"requests": 60, "refresh_every": 0}))
    start = shipped_edge("sft")
    assert loop.net is not None
    pairs = zip(loop.net.parameters(), start.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert [(u.iterations, u.refreshed) for u in loop.updates] == [(0, False)] * 4


def test_equal_labels_leave_the_scorer() -> None:
    config = small(train=False, scorer={"requests": 60, "refresh_every": 1})
    loop = Loop(config, 0, shipped_edge("sft"))
    loop.serve()
    loop.set_aside = [a for a in loop.set_aside if a.drafts.calls[0] == a.call]
    before = loop.scorer
    update = loop.update()
    assert (update.refreshed, update.agrees) == (False, 1.0)
    assert loop.scorer is before


def test_supervised_start_is_not_touched(done: Loop) -> None:
    assert done.net is not None
    pairs = zip(done.net.parameters(), shipped_edge("sft").parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in pairs)


def test_too_few_requests_for_the_first_scorer_are_told() -> None:
    with pytest.raises(SixgymError, match=r"scorer\.requests=1: label: all of 1 are the same"):
        Loop(small(scorer={"requests": 1}), 0, shipped_edge("sft"))


def test_own_cloud_errs_alike_whatever_else_is_offloaded() -> None:
    items = draw(FULL, 30, 0, "x")
    cloud = OwnCloud(0, 0.5)
    every = cloud.answer(items, "x", range(30))
    assert cloud.answer([items[7], items[21]], "x", [7, 21]) == [every[7], every[21]]


# ----------------------------------------------------------------------------------------- files


def test_run_writes_slots_updates_record_picture_and_edge(tmp_path: Path, done: Loop) -> None:
    (result,) = run_loop(small(), tmp_path)
    assert result.folder == tmp_path / "loop" / "small" / "seed_0"
    with (result.folder / "slots.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == list(range(9))
    assert [float(r["offload"]) for r in rows] == [s.offload for s in done.slots]
    with (result.folder / "fifths.csv").open(newline="") as file:
        parts = list(csv.DictReader(file))
    assert [int(p["requests"]) for p in parts] == [6] * 5
    assert float(parts[0]["success"]) == result.first.success
    assert float(parts[-1]["offload_mix"]) == result.last.offload_mix
    record = json.loads((result.folder / "run.json").read_text())
    assert {"versions", "commit", "config", "first_fifth", "last_fifth", "start"} <= set(record)
    assert record["finished"]
    assert [u["slot"] for u in record["updates"]] == [2, 4, 6, 8]
    assert sum(r["requests"] for r in record["rounds"]) == 9 * 6
    assert result.figure.read_bytes().startswith(b"\x89PNG")
    assert load_card(result.folder / "edge").about["seed"] == 0
    edge = load_edge(result.folder / "edge")
    assert done.net is not None
    for a, b in zip(edge.parameters(), done.net.parameters(), strict=True):
        assert torch.equal(a, b)


# ----------------------------------------------------------------------------------- the command


def test_commands_say_what_they_do_and_import_nothing_heavy(tmp_path: Path) -> None:
    for name, word in (("toolcall", "RECIPE"), ("loop", "CONFIG")):
        result = CliRunner().invoke(app, [name, "--help"])
        assert result.exit_code == 0
        for part in (word, "--set", "--out"):
            assert part in result.output
    code = (
        "import sys; sys.argv = ['sixgym', 'loop', '--help']; from sixgym.cli.main import main\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'stable_baselines3', 'httpx', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("name", ["toolcall", "loop"])
def test_command_refuses_a_wrong_file_before_anything_is_made(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [name, "nowhere", "--out", str(tmp_path / "runs")])
    assert isinstance(result.exception, ConfigError)
    assert "no such file or shipped configuration" in str(result.exception)
    assert not (tmp_path / "runs").exists()


def test_command_tells_first_and_last_fifth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sixgym.agents.toolcall.loop_runs.draw_loop", lambda *_: None)
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({**SMALL, "slots": 2}))
    result = CliRunner().invoke(
        app, ["loop", str(path), "--set", "seeds=[3]", "--out", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    for part in ("seed 3:", "first fifth: offload", "last fifth: offload", "start: hard_success"):
        assert part in result.output


def test_change_over_seeds_has_the_interval_of_student() -> None:
    """Mean -.1, deviation .1 of three: t(2) = 4.303, half width 4.303 x .1 / sqrt(3) = .2484."""
    change = change_of([-0.2, -0.1, 0.0])
    assert change == pytest.approx((-0.1, -0.3484, 0.1484), abs=1e-4)
    assert str(change) == "-0.100 [-0.348, +0.148]"


def test_several_seeds_are_told_with_their_change(done: Loop) -> None:
    first, last = Service.of(done.slots[:2]), Service.of(done.slots[-2:])
    one = LoopResult(0, Path(), done.slots, first, last, None, None, 1.0, Path("x.png"))
    lines = told([one, one._replace(seed=1, last=last._replace(valid=None))])
    assert "change from first to last fifth, 2 seeds:" in lines
    assert any(line.startswith("  offload_mix: ") and "[" in line for line in lines)
    assert not any(line.startswith("  valid:") for line in lines)


def test_training_command_tells_start_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sixgym.agents.toolcall.runs.draw_curves", lambda *_: None)
    path = tmp_path / "mine.yaml"
    improve = {**SMALL["improve"], "iterations": 1}
    parts = {name: SMALL[name] for name in ("sft", "evaluation")}
    path.write_text(json.dumps({**parts, "start": "shipped", "improve": improve}))
    out = ["--set", "buffer.prompts=20", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["toolcall", str(path), *out])
    assert result.exit_code == 0, result.output
    for part in ("seed 0:", "start: hard_success", "end: hard_success", "curves:"):
        assert part in result.output

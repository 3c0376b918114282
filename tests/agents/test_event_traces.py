"""The recipes of the shipped traces: data, networks, cross-fitting, the file and its command."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from sixgym.agents.traces import make
from sixgym.agents.traces.__main__ import main
from sixgym.agents.traces.data import NAMES, dataset
from sixgym.agents.traces.nets import ConvExits, StagedExits, conv_server, table_server
from sixgym.envs.core.errors import SeedError, UnknownIdError
from sixgym.envs.event_offload.scores import named_pool
from sixgym.envs.event_offload.trace_files import FOLDER, SHIPPED, read_traces

pytest.importorskip("sklearn")


@pytest.fixture
def few_steps(monkeypatch):
    """Train for three steps: the file is whole, the networks know nothing."""
    monkeypatch.setattr(make, "IMAGE_STEPS", make.Steps(3, 3))
    monkeypatch.setattr(make, "TABLE_STEPS", make.Steps(3, 3))


def test_every_shipped_file_has_a_recipe():
    assert set(NAMES) == set(SHIPPED)
    with pytest.raises(UnknownIdError, match="traces='mnist': no such recipe; allowed: digits38"):
        dataset("mnist")


@pytest.mark.parametrize(
    ("name", "events", "tails", "classes"),
    [("digits38", 1797, 357, 2), ("digits89", 1797, 354, 2), ("breast_cancer", 569, 212, 1)],
)
def test_data_sets_have_the_dossiers_sizes(name, events, tails, classes):
    data = dataset(name)
    assert (len(data.label), int((data.label > 0).sum()), data.num_classes) == (
        events,
        tails,
        classes,
    )
    assert data.inputs.dtype == np.float32
    assert data.inputs.flags.c_contiguous


def test_stages_are_disjoint_and_of_the_dossiers_sizes():
    stages = dataset("breast_cancer").stages
    assert [len(stage) for stage in stages] == [6, 4, 4, 3]
    assert len({column for stage in stages for column in stage}) == 17


def test_small_cnn_has_the_dossiers_macs():
    assert ConvExits().macs() == [1152, 2304, 5760, 7488]
    shapes = [tuple(out.shape) for out in ConvExits()(torch.zeros(5, 1, 8, 8))]
    assert shapes == [(5, 2)] * 4
    assert conv_server(3)(torch.zeros(5, 1, 8, 8)).shape == (5, 3)


def test_an_exit_sees_its_stages_only():
    stages = dataset("breast_cancer").stages
    net = StagedExits(stages)
    assert net.macs() == [24, 72, 152, 240]
    table = torch.randn(3, 30)
    before = net(table)
    for n in range(4):
        changed = table.clone()
        changed[:, [c for stage in stages[n + 1 :] for c in stage]] += 1.0
        after = net(changed)
        for k in range(n + 1):
            assert torch.equal(before[k], after[k])
    assert table_server(30, 2)(table).shape == (3, 2)


@pytest.mark.parametrize("name", ["digits38", "breast_cancer"])
def test_file_of_a_short_training_is_whole(name, few_steps, tmp_path):
    path = make.write_traces(make.make_traces(name), tmp_path)
    pool = read_traces(str(path), "trace")
    shipped = named_pool(name, "trace")
    # Labels, halves and costs do not depend on training.
    assert (pool.y == shipped.y).all()
    assert (pool.split == shipped.split).all()
    assert (pool.macs == shipped.macs).all()
    assert set(pool.meta) == set(shipped.meta)
    assert len(set(pool.meta["auroc"])) == 4


def test_rerun_gives_the_same_bytes(few_steps, tmp_path):
    first, second = (
        make.write_traces(make.make_traces("breast_cancer"), tmp_path / name) for name in "ab"
    )
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".json").read_text() == second.with_suffix(".json").read_text()


def test_seed_decides_folds_and_weights(few_steps):
    first, other = (make.make_traces("breast_cancer", seed=seed) for seed in (0, 1))
    assert (first.fold != other.fold).any()
    assert (first.conf != other.conf).any()
    with pytest.raises(SeedError, match="seed=4294967296: allowed: 0 to 4294967295"):
        make.make_traces("breast_cancer", seed=2**32)


def test_scaler_is_fitted_on_the_training_fold():
    table = np.arange(20, dtype=np.float32).reshape(10, 2)
    fit = np.arange(5)
    scaled = make._standardised(table, fit)
    assert scaled[fit].mean(0) == pytest.approx([0, 0], abs=1e-6)
    assert scaled[fit].std(0) == pytest.approx([1, 1], rel=1e-6)
    moved = table.copy()
    moved[5:] += 100.0
    assert (make._standardised(moved, fit)[:5] == scaled[:5]).all()


def test_command_writes_file_and_card(few_steps, tmp_path, capsys):
    assert main(["breast_cancer", "--out", str(tmp_path / "new")]) == 0
    card = json.loads((tmp_path / "new" / "breast_cancer.json").read_text())
    assert card["command"] == "python -m sixgym.agents.traces breast_cancer --seed 0 --out DIR"
    assert "fold 5 of 5" in capsys.readouterr().out


def test_command_refuses_in_one_line(tmp_path, capsys, monkeypatch):
    assert main(["mnist", "--out", str(tmp_path)]) == 2
    assert "no such recipe" in capsys.readouterr().err
    assert main(["digits38", "--seed", "-1", "--out", str(tmp_path)]) == 2
    assert "seed=-1: allowed: 0 to" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["digits38", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    assert main(["digits38", "--out", str(tmp_path)]) == 2
    assert "sixgym[train]" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_recipe_reproduces_the_shipped_file(name, tmp_path):
    """Half a minute each. Other versions or another CPU round differently: see the tolerances."""
    path = make.write_traces(make.make_traces(name), tmp_path)
    shipped = named_pool(name, "trace")
    again = read_traces(str(path), "trace")
    same = path.read_bytes() == (FOLDER / f"{name}.npz").read_bytes()
    assert same or again.meta["auroc"] == pytest.approx(shipped.meta["auroc"], abs=0.005)
    assert again.meta["server_auroc"] == pytest.approx(shipped.meta["server_auroc"], abs=0.003)
    assert again.accuracy["tail"] == pytest.approx(shipped.accuracy["tail"], abs=0.03)
    assert (again.split == shipped.split).all()

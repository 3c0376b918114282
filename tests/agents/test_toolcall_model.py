"""The tiny transformer: size, cached decoding against teacher forcing, files and their faults."""

from __future__ import annotations

import json

import pytest
import torch

from sixgym.agents.toolcall import objective
from sixgym.agents.toolcall.files import Card, load_card, load_edge, load_reward, save
from sixgym.agents.toolcall.language import END_ID, PAD_ID, Call
from sixgym.agents.toolcall.model import (
    Body,
    RewardNet,
    Sizes,
    ToolNet,
    answer_tensor,
    count_parameters,
    prompt_tensor,
    said,
)
from sixgym.agents.toolcall.sft import fresh_net
from sixgym.agents.toolcall.task import FULL, draw
from sixgym.envs.core.errors import PolicyError

ITEMS = draw(FULL, 12, 0, "test")


def loud_net(seed: int = 0, sizes: Sizes = Sizes(16, 2, 2)) -> ToolNet:  # noqa: B008
    """A small untrained network with logits far from equal, so that argmax is no tie."""
    net = fresh_net(seed, sizes)
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(8.0 if weight.dim() == 2 else 1.0)
    return net


@pytest.fixture(scope="module")
def prompts() -> torch.Tensor:
    return prompt_tensor([i.prompt for i in ITEMS])


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_parameter_count_is_the_dossiers():
    # 117*64 + 54*64 + 2 * (4*64 + 64*192+192 + 64*64+64 + 2*64*256+256+64) + 2*64
    assert count_parameters(ToolNet()) == 111_040
    assert count_parameters(RewardNet()) == 111_040 + 65


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="heads=3: allowed: divisors of width=64"):
        Body(Sizes(64, 1, 3))


def test_greedy_decoding_is_the_argmax_of_teacher_forcing(prompts):
    net = loud_net()
    draft = net.generate(prompts)
    logits = net(prompts, draft.token)
    assert torch.equal(logits.argmax(-1)[draft.is_said], draft.token[draft.is_said])
    assert len(set(map(tuple, draft.token.tolist()))) > 1


@pytest.mark.parametrize("sampled", [False, True])
def test_cached_log_probabilities_are_those_of_teacher_forcing(prompts, sampled):
    net = loud_net(1)
    draft = net.generate(prompts, noise() if sampled else None)
    forced = objective.chosen(net(prompts, draft.token), draft.token)
    assert (forced - draft.log_prob)[draft.is_said].abs().max() < 1e-4
    assert (draft.log_prob[~draft.is_said] == 0).all()


def test_what_is_said_ends_with_the_end(prompts):
    net = loud_net(3)
    with torch.no_grad():
        net.body.token.weight[END_ID] *= 3.0
    draft = net.generate(prompts, noise())
    assert torch.equal(draft.is_said, said(draft.token))
    lengths = draft.is_said.sum(1)
    assert 1 <= lengths.min() < 20
    for row, length in zip(draft.token.tolist(), lengths.tolist(), strict=True):
        assert END_ID not in row[: length - 1]
        assert row[length - 1] == END_ID or length == 20
        assert set(row[length:]) <= {PAD_ID}


def test_said_counts_up_to_and_including_the_end():
    answer = answer_tensor([Call("finish", ()), Call("evaluate", ("val", 4))])
    assert said(answer).sum(1).tolist() == [11, 18]


def test_padding_and_company_change_nothing(prompts):
    net = loud_net(2)
    answer = answer_tensor([i.answer for i in ITEMS])
    together = net(prompts, answer)
    for k in range(len(ITEMS)):
        alone = net(prompts[k : k + 1], answer[k : k + 1])
        assert (alone[0] - together[k]).abs().max() < 1e-4


def test_later_tokens_do_not_change_earlier_predictions(prompts):
    net = loud_net(2)
    answer = answer_tensor([i.answer for i in ITEMS])
    changed = answer.clone()
    changed[:, 6:] = 50
    assert (net(prompts, answer) - net(prompts, changed))[:, :7].abs().max() < 1e-5


def test_samples_follow_their_seed(prompts):
    net = loud_net(1)
    first, again, other = (net.generate(prompts, noise(s)).token for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_fresh_weights_follow_their_seed_and_leave_torchs_generator_alone():
    state = torch.get_rng_state()
    first, again, other = (fresh_net(s).body.token.weight for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_reward_net_reads_at_the_end_only(prompts):
    net = RewardNet(Sizes(16, 2, 2))
    torch.nn.init.normal_(net.head.weight, generator=noise())
    answer = answer_tensor([i.answer for i in ITEMS])
    longer = answer.clone()
    longer[:, -1] = 50  # behind <eos>
    assert (net(prompts, answer) - net(prompts, longer)).abs().max() < 1e-5
    assert net(prompts, answer).std() > 0


# ----------------------------------------------------------------------------------------- files


def test_saved_networks_come_back_the_same(tmp_path, prompts):
    net = loud_net()
    path = save(net, tmp_path / "edge", {"seed": 0})
    back = load_edge(path)
    assert back.sizes == net.sizes
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), back.parameters(), strict=True))
    assert torch.equal(back.generate(prompts).token, net.generate(prompts).token)
    assert load_card(path).about == {"seed": 0}
    assert save(net, tmp_path / "again", {"seed": 0}).read_bytes() == path.read_bytes()
    judge = RewardNet(Sizes(16, 2, 2))
    save(judge, tmp_path / "reward.json", {})
    assert count_parameters(load_reward(tmp_path / "reward.safetensors")) == count_parameters(judge)
    with pytest.raises(PolicyError, match="kind='reward'; allowed: 'edge'"):
        load_edge(tmp_path / "reward")


@pytest.fixture
def saved(tmp_path):
    return save(loud_net(), tmp_path / "edge", {})


def test_truncated_weights_are_refused(saved):
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(PolicyError, match=r"bytes, truncated or altered: not the checksum of edge"):
        load_edge(saved)


def test_altered_weights_are_refused(saved):
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    saved.write_bytes(bytes(data))
    with pytest.raises(PolicyError, match="truncated or altered"):
        load_edge(saved)


def test_missing_files_are_refused(saved, tmp_path):
    with pytest.raises(PolicyError, match=r"other\.json: no such network"):
        load_edge(tmp_path / "other")
    saved.unlink()
    with pytest.raises(PolicyError, match=r"edge\.safetensors: no such file"):
        load_edge(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "sixgym policy 1"}, "not a card: format"),
        ({"width": 0}, "not a card: width"),
        ({"width": 32}, r"allowed: \(117, 32\)"),
        ({"heads": 3}, "heads=3: allowed: divisors of 16"),
        ({"layers": 1}, "missing or unknown tensors"),
        ({"vocabulary": "x"}, "trained on another vocabulary"),
        ({"code": "import os"}, "not a card: code"),
    ],
)
def test_tampered_cards_are_refused(saved, change, message):
    card = saved.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | change))
    with pytest.raises(PolicyError, match=message) as caught:
        load_edge(saved)
    assert "\n" not in str(caught.value)


def test_files_that_are_none_are_refused(saved):
    card = saved.with_suffix(".json")
    text = card.read_text()
    card.write_text(text[:-20])
    with pytest.raises(PolicyError, match="not a card: file"):
        load_edge(saved)
    card.write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="not text"):
        load_edge(saved)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    net = loud_net()
    with torch.no_grad():
        net.body.norm.weight[0] = float("nan")
    with pytest.raises(PolicyError, match=r"body\.norm\.weight is not finite"):
        load_edge(save(net, tmp_path / "edge", {}))


def test_foreign_bytes_with_the_right_checksum_are_refused(saved):
    import hashlib

    saved.write_bytes(b"not a safetensors file")
    card = Card.model_validate_json(saved.with_suffix(".json").read_text())
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    saved.with_suffix(".json").write_text(
        json.dumps({**card.model_dump(mode="json"), "sha256": digest})
    )
    with pytest.raises(PolicyError, match="not a safetensors file"):
        load_edge(saved)

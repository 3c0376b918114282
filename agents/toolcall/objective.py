"""The composite objective (28) and its parts, on logits: for networks and for plain categoricals.

``L = w L_PG + beta D(pi || pi_old) + lambda D(pi_SFT || pi) + mu NLL(cloud answers)``

A trust-region step by a reverse KL to the policy that sampled, a realignment by a forward KL to the
supervised start [paper, in words]; the formulas, the weights and the imitation term are
[our choice: dossier 4.5]. Rows are sequences, columns tokens; ``weight`` (rows, columns) says which
tokens count and how much: 1 up to and including ``<eos>``, or the chance of an answer where all of
them are enumerated. Every term is a weighted mean over tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

ADVANTAGE_FLOOR = 0.1
"""Added to a group's deviation: a group of equal rewards teaches nothing. [our choice]"""


class Weights(NamedTuple):
    """Of the terms; the defaults are the small recipe's [our choice: dossier 6.5]."""

    w_pg: float = 0.3
    """w of the policy gradient."""
    kl_old: float = 0.05
    """beta of the trust region."""
    kl_sft: float = 1.0
    """lambda of the anchor."""
    nll_cloud: float = 1.0
    """mu of the imitation of cloud answers."""


class Terms(NamedTuple):
    """Values of the terms, each a scalar; 0 where one is left out."""

    pg: Tensor
    kl_old: Tensor
    kl_sft: Tensor
    nll_cloud: Tensor


def composite(terms: Terms, weights: Weights) -> Tensor:
    """(28) with the imitation term: the scalar that is minimised."""
    parts = zip(weights, terms, strict=True)
    return torch.stack([weight * term for weight, term in parts]).sum()


def policy_gradient(
    log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, weight: Tensor, clip: float
) -> Tensor:
    """L_PG, PPO's clipped surrogate with one advantage a sequence.

    [standard: Schulman 2017]

    Args:
        log_prob: (rows, columns) of the tokens that were sampled, under the policy.
        old_log_prob: the same under the policy that sampled.
        advantage: (rows,).
        weight: (rows, columns).
        clip: epsilon; infinity for none.
    """
    ratio = (log_prob - old_log_prob).exp()
    gain = advantage[:, None]
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    return -token_mean(torch.minimum(ratio * gain, clipped * gain), weight)


def reverse_kl(logits: Tensor, reference: Tensor, weight: Tensor) -> Tensor:
    """(29) D(pi || reference) by the exact sum over the vocabulary at every token.

    Args:
        logits: (rows, columns, vocabulary) of the policy.
        reference: the same of the policy that sampled (or of the supervised start).
        weight: (rows, columns).
    """
    return token_mean(kl(logits, reference), weight)


def forward_kl(logits: Tensor, reference: Tensor, weight: Tensor) -> Tensor:
    """(30) D(pi_SFT || pi), shapes as in `reverse_kl`; the reference is the supervised start."""
    return token_mean(kl(reference, logits), weight)


def nll(logits: Tensor, token: Tensor, weight: Tensor) -> Tensor:
    """(25) Mean of -ln pi(token), token (rows, columns) int64."""
    return -token_mean(chosen(logits, token), weight)


def dpo(gain_chosen: Tensor, gain_rejected: Tensor, beta: float) -> Tensor:
    """(31) -ln sigmoid(beta [g_w - g_l]), the mean.

    [standard: Rafailov et al. 2023]

    Args:
        gain_chosen: (rows,) ln pi/pi_SFT of the better answers, whole sequences.
        gain_rejected: the same of the worse ones.
        beta: beta_D.
    """
    return -functional.logsigmoid(beta * (gain_chosen - gain_rejected)).mean()


def group_advantage(reward: Tensor) -> Tensor:
    """(R - mean) / (deviation + .1) of R (prompts, samples), within prompts.

    [our choice: there is no critic]
    """
    centred = reward - reward.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True).sqrt() + ADVANTAGE_FLOOR)


def kl(logits: Tensor, other: Tensor) -> Tensor:
    """D(p || q) over the last axis, of two tensors of logits."""
    log_p, log_q = logits.log_softmax(-1), other.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def chosen(logits: Tensor, token: Tensor) -> Tensor:
    """(rows, columns) log-probabilities of tokens."""
    return logits.log_softmax(-1).gather(-1, token[..., None])[..., 0]


def token_mean(value: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over all tokens."""
    return (value * weight).sum() / weight.sum()


def k1(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``-ln r`` with r = p/q_theta: its mean over y ~ q is D(q || p), its gradient's mean is 0.

    Useless as a loss; good as a penalty that is not differentiated. [related: Schulman 2020]
    """
    return log_q - log_p


def k2(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``ln^2 r / 2``: the mean of its gradient over y ~ q is that of D(q || p), the reverse KL.

    [related: RPG, arXiv 2505.17508; the identities are derived]
    """
    return 0.5 * (log_p - log_q).square()


def k3(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``r - 1 - ln r``: the mean of its gradient over y ~ q is that of D(p || q), the forward KL.

    So a "k3 KL loss" of GRPO's kind is in truth a forward anchor. [related: as `k2`]
    """
    log_r = log_p - log_q
    return log_r.exp() - 1.0 - log_r

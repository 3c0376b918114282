"""One slot: what the rule asks for, what the uplink serves, and the counts that follow."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.event_offload.bank import TAIL, EventBank
from sixgym.envs.event_offload.params import EventOffloadBaseParams
from sixgym.envs.event_offload.rule import Verdict


class Counts(NamedTuple):
    """Events of a slot by what became of them; all (rows,), floats, expectations allowed."""

    tails: Tensor
    """Tail events."""
    requests: Tensor
    """Offloads asked for."""
    served: Tensor
    """Offloads done."""
    tp: Tensor
    """Tails that were served, or closed on the device as tails."""
    tp_correct: Tensor
    """Of these, named right."""
    fp: Tensor
    """Heads that were served, or closed on the device as tails."""
    fp_final: Tensor
    """Of these, still called tail at the end."""
    confirmed: Tensor
    """Offloads that the server called tail."""
    called: Tensor
    """Events called tail at the end, by the server or by the device."""
    load: Tensor
    """Payloads sent, in units of the nominal payload."""
    tp_load: Tensor
    """Those of tails."""
    macs: Tensor
    """Multiply-accumulates of the device, over all events."""
    tp_macs: Tensor
    """Those of the events in ``tp``."""


class Requests(NamedTuple):
    """What happens to each event before the uplink; (rows, M)."""

    offload: Tensor
    """bool: asks to be sent."""
    closed: Tensor | None
    """bool: closed on the device as a tail; None where that does not happen."""


def requests_of(params: EventOffloadBaseParams, verdict: Verdict) -> Requests:
    """Who is sent and who is closed on the device, by the semantics."""
    declared = verdict.declared_tail
    if params.semantics == "detect_then_offload":
        return Requests(declared, None)
    if params.semantics == "confident_local":
        # Final rules have no say: an undecided event is sent.
        return Requests(verdict.undecided, declared & ~verdict.undecided)
    return Requests(torch.zeros_like(declared), declared)


def serve_in_order(offload: Tensor, fit: Tensor) -> Tensor:
    """(rows, M) bool: the first ``fit`` (rows,) requests in order of arrival are served."""
    asked = offload.to(fit.dtype)
    return offload & (asked.cumsum(-1) <= fit.unsqueeze(-1))


def serve_by_size(offload: Tensor, size: Tensor, fit: Tensor, longest: Tensor) -> Tensor:
    """As `serve_in_order` for payloads of different sizes, all in nominal payloads.

    A request that alone would miss its deadline is dropped and takes no time; of the others, those
    are served that fit with all before them.

    Args:
        offload: (rows, M) bool.
        size: (rows, M) payloads.
        fit: (rows,) payloads that slot and battery can carry.
        longest: (rows,) payloads that go on air within the deadline.
    """
    possible = offload & (size <= longest.unsqueeze(-1))
    load = (size * possible).cumsum(-1)
    return possible & (load <= fit.unsqueeze(-1))


def count_events(
    bank: EventBank,
    events: Tensor,
    macs: Tensor,
    requests: Requests,
    served: Tensor,
    *,
    size: Tensor | None = None,
    local_right: Tensor | None = None,
) -> Counts:
    """Add up a slot.

    Args:
        bank: where the events come from.
        events: (rows, M) rows of the bank.
        macs: (rows, M) multiply-accumulates of each.
        requests: who asked.
        served: (rows, M) bool, who was sent.
        size: (rows, M) payloads in units of the nominal one; None where all are that.
        local_right: (rows, M) bool, whether a tail closed on the device would be named right;
            None: always.
    """
    traits = bank.traits[events].movedim(-1, 0)
    return add_up(traits, macs, requests, served, size=size, local_right=local_right)


def add_up(
    traits: Tensor,
    macs: Tensor,
    requests: Requests,
    served: Tensor,
    *,
    size: Tensor | None = None,
    local_right: Tensor | None = None,
) -> Counts:
    """As `count_events`, of traits (5, rows, M) that were looked up before."""
    sent_here = served.to(traits.dtype)
    is_tail = traits[TAIL]
    found = is_tail * sent_here
    n_off, tp, correct, confirmed, fp_final = (traits * sent_here).sum(-1).unbind(0)
    fp = n_off - tp
    load, tp_load, called = n_off, tp, confirmed
    if size is not None:
        load, tp_load = (size * sent_here).sum(-1), (size * found).sum(-1)
    if requests.closed is not None:
        closed = requests.closed.to(traits.dtype)
        closed_tails = is_tail * closed
        right = closed_tails if local_right is None else closed_tails * local_right
        closed_count, closed_tp = closed.sum(-1), closed_tails.sum(-1)
        found, correct = found + closed_tails, correct + right.sum(-1)
        tp, called = tp + closed_tp, called + closed_count
        fp, fp_final = fp + (closed_count - closed_tp), fp_final + (closed_count - closed_tp)
    return Counts(
        tails=is_tail.sum(-1),
        requests=requests.offload.to(traits.dtype).sum(-1),
        served=n_off,
        tp=tp,
        tp_correct=correct,
        fp=fp,
        fp_final=fp_final,
        confirmed=confirmed,
        called=called,
        load=load,
        tp_load=tp_load,
        macs=macs.sum(-1),
        tp_macs=(found * macs).sum(-1),
    )


def event_details(
    bank: EventBank,
    events: Tensor,
    verdict: Verdict,
    requests: Requests,
    served: Tensor,
    local_right: Tensor | None = None,
) -> dict[str, Tensor]:
    """Histogram of exits, (rows, N), and confusion matrix, (rows, K+1, K+1), of a slot.

    The final class is the server's of an event that was sent. A tail closed on the device is named
    right or, as a wrong sub-class, the next one; a head closed there becomes sub-class 1. All else
    is head. Arguments as `count_events`.
    """
    classes = bank.num_classes + 1
    label = bank.label[events]
    final = torch.where(served, bank.answer[events], 0)
    if requests.closed is not None:
        named = label
        if local_right is not None:
            named = torch.where(local_right, label, 1 + label % bank.num_classes)
        final = torch.where(requests.closed, named.clamp_min(1), final)
    cells = torch.nn.functional.one_hot(label * classes + final, classes**2).sum(1)
    exits = torch.nn.functional.one_hot(verdict.exit, bank.num_exits).sum(1)
    dtype = bank.macs.dtype
    return {
        "exits": exits.to(dtype),
        "confusion": cells.to(dtype).reshape(-1, classes, classes),
    }

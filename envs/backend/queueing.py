"""Buffers that lose nothing unaccounted: data queues, deadline buckets, task queues.

Every update returns what came in as the sum of what left, what was dropped and what stays; the part
that stays is found by difference, so the identity holds to the rounding of one subtraction in any
dtype, and exactly for integers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class DataBufferStep(NamedTuple):
    """One slot of a buffer of extracted data; all (...,), bits.

    Attributes:
        queue_bits: semantic bits that stay.
        raw_bits: their raw equivalent.
        sent_bits: semantic bits sent.
        delivered_raw_bits: their raw equivalent.
        dropped_bits: semantic bits lost to overflow.
        dropped_raw_bits: their raw equivalent.
    """

    queue_bits: Tensor
    raw_bits: Tensor
    sent_bits: Tensor
    delivered_raw_bits: Tensor
    dropped_bits: Tensor
    dropped_raw_bits: Tensor


class TaskBufferStep(NamedTuple):
    """One slot of a buffer of tasks; all (...,), counts in the dtype of the input.

    Attributes:
        waiting: tasks that stay.
        served: tasks that left served.
        admitted: arrivals that found room.
        dropped: arrivals that did not.
    """

    waiting: Tensor
    served: Tensor
    admitted: Tensor
    dropped: Tensor


class BucketShift(NamedTuple):
    """Deadline buckets after the clock has moved one slot on.

    Attributes:
        backlog_bits: (..., window) bits by slots left to live.
        expired_bits: (...) bits that were due and unserved.
    """

    backlog_bits: Tensor
    expired_bits: Tensor


def data_buffer_step(
    queue_bits: Tensor,
    raw_bits: Tensor,
    new_bits: Tensor,
    new_raw_bits: Tensor,
    service_bits: Tensor,
    capacity_bits: float,
) -> DataBufferStep:
    """Fluid buffer that mixes data of different extraction factors.

    ``s = q + new`` is offered, ``sent = min(s, service)``; the raw equivalent leaves in proportion,
    ``(raw + new_raw) sent / s``. What exceeds the capacity is dropped, its raw equivalent in
    proportion too. [our choice: fluid mixing; it needs no record of which bit came when]

    Args:
        queue_bits: (...) semantic bits held, >= 0.
        raw_bits: (...) raw equivalent of what is held, >= 0.
        new_bits: (...) semantic bits that join before the service, >= 0.
        new_raw_bits: (...) their raw equivalent, >= 0.
        service_bits: (...) bits that can be sent in the slot, >= 0.
        capacity_bits: semantic bits that can be held over, >= 0; ``math.inf`` for no limit.

    Returns:
        The step; ``raw + new_raw = delivered + dropped_raw + raw'``, and so for semantic bits.

    Raises:
        ValueError: if ``capacity_bits`` is negative.
    """
    return serve_buffer(queue_bits + new_bits, raw_bits + new_raw_bits, service_bits, capacity_bits)


def serve_buffer(
    offered_bits: Tensor, offered_raw_bits: Tensor, service_bits: Tensor, capacity_bits: float
) -> DataBufferStep:
    """:func:`data_buffer_step` where what is held and what joins are one sum already.

    Args:
        offered_bits: (...) semantic bits before the service, >= 0.
        offered_raw_bits: (...) their raw equivalent, >= 0.
        service_bits: (...) bits that can be sent in the slot, >= 0.
        capacity_bits: semantic bits that can be held over, >= 0; ``math.inf`` for no limit.

    Raises:
        ValueError: if ``capacity_bits`` is negative.
    """
    if not capacity_bits >= 0.0:
        raise ValueError(f"capacity_bits = {capacity_bits}, must be >= 0")
    sent = torch.minimum(offered_bits, service_bits)
    delivered = offered_raw_bits * _share(sent, offered_bits)
    left, left_raw = offered_bits - sent, offered_raw_bits - delivered
    kept = left.clamp_max(capacity_bits)
    kept_raw = left_raw * _share(kept, left)
    return DataBufferStep(kept, kept_raw, sent, delivered, left - kept, left_raw - kept_raw)


def serve_buckets(
    backlog_bits: Tensor, volume_bits: Tensor, due_bits: Tensor | None = None
) -> Tensor:
    """Take a volume out of deadline buckets, the most urgent first.

    Args:
        backlog_bits: (..., window) bits by slots left to live; index 0 must be served now.
        volume_bits: (...) bits to take; more than the sum empties the buckets.
        due_bits: (..., window) cumulated ``backlog_bits``, where they are known already.

    Returns:
        (..., window) bits that stay.
    """
    due = backlog_bits.cumsum(-1) if due_bits is None else due_bits
    return torch.minimum((due - volume_bits.unsqueeze(-1)).clamp_min(0.0), backlog_bits)


def shift_buckets(backlog_bits: Tensor, arrival_bits: Tensor) -> BucketShift:
    """Move the clock one slot on: bucket 0 expires, the others move down, arrivals join last.

    Args:
        backlog_bits: (..., window) bits by slots left to live, after the service.
        arrival_bits: (...) new bits, with the whole window to live.

    Returns:
        The buckets and what expired; ``sum(backlog) + arrival = sum(backlog') + expired``.
    """
    moved = torch.cat([backlog_bits[..., 1:], arrival_bits.unsqueeze(-1)], -1)
    return BucketShift(moved, backlog_bits[..., 0])


def optimal_available(backlog_bits: Tensor) -> Tensor:
    """Volume of the "optimal available" rule, ``max_w (b_0 + ... + b_{w-1}) / w``.

    The least constant speed from which no deadline is missed if nothing more arrives: with a convex
    cost per slot and a frozen channel it is the cheapest schedule of what is known.
    [standard: Yao, Demers & Shenker 1995 introduce this family]

    Args:
        backlog_bits: (..., window) bits by slots left to live.

    Returns:
        (...) bits to serve in this slot; with a window of 1, the bucket itself.
    """
    window = backlog_bits.shape[-1]
    slots = torch.arange(1, window + 1, dtype=backlog_bits.dtype, device=backlog_bits.device)
    return (backlog_bits.cumsum(-1) / slots).amax(-1)


def task_buffer_step(
    waiting: Tensor, arrivals: Tensor, service: Tensor, capacity: int
) -> TaskBufferStep:
    """Buffer of whole tasks: serve, then admit arrivals into the room that is left.

    Args:
        waiting: (...) tasks in the buffer, integer dtype (or whole floats), in [0, capacity].
        arrivals: (...) new tasks, >= 0.
        service: (...) tasks that could be served, >= 0.
        capacity: most tasks that can wait, >= 0.

    Returns:
        The step; ``waiting + arrivals = waiting' + served + dropped`` exactly.

    Raises:
        ValueError: if ``capacity`` is negative.
    """
    if capacity < 0:
        raise ValueError(f"capacity = {capacity}, must be >= 0")
    served = torch.minimum(waiting, service)
    left = waiting - served
    admitted = torch.minimum(arrivals, capacity - left)
    return TaskBufferStep(left + admitted, served, admitted, arrivals - admitted)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole`` where 0 <= part <= whole, and 0 where whole is 0."""
    return part / whole.clamp_min(torch.finfo(whole.dtype).tiny)

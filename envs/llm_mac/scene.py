"""The picture of one row: a grid of slots and seats, with what was said, sent and deleted.

A cell is coloured by what its user did and what became of it; the mark in its corner is the message
that it got, a dot a request that it made. Right of the grid stands every user's buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sixgym.envs.core.render import GRID, INK, MUTED, PALETTE, Canvas, Color
from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_SG, DELETE, TRANSMIT, UCM_NULL
from sixgym.envs.llm_mac.slot import COLLISION, DUPLICATE, ERASURE, IDLE_SLOT, NEW
from sixgym.envs.llm_mac.state import LOG_SLOTS, MacState

if TYPE_CHECKING:
    from sixgym.envs.llm_mac.system import LlmMac

HERE, ACTION, DCM, UCM, OUTCOME, CORRECT, SENT = 0, 1, 3, 6, 9, 12, 13
"""First bits of the fields of a number in ``MacState.log``: the seat was taken, physical action
(2 bits), downlink and uplink message (3 each), what became of the slot (3), the delete was correct,
the user sent."""

NEW_COLOR: Color = PALETTE[2]
DUP_COLOR: Color = PALETTE[4]
LOST_COLOR: Color = PALETTE[1]
ERASED_COLOR: Color = PALETTE[3]
DELETE_COLOR: Color = PALETTE[0]
VOID_COLOR: Color = (190, 194, 201)
EMPTY: Color = (238, 239, 241)
LEGEND: tuple[tuple[str, Color], ...] = (
    ("new", NEW_COLOR),
    ("duplicate", DUP_COLOR),
    ("collision", LOST_COLOR),
    ("erased", ERASED_COLOR),
    ("delete", DELETE_COLOR),
    ("lost", INK),
    ("void", VOID_COLOR),
)
OUTCOME_COLORS: dict[int, Color] = {
    IDLE_SLOT: VOID_COLOR,
    COLLISION: LOST_COLOR,
    ERASURE: ERASED_COLOR,
    DUPLICATE: DUP_COLOR,
    NEW: NEW_COLOR,
}
LEFT, TOP, RIGHT, BOTTOM = 66.0, 62.0, 452.0, 344.0
"""The grid."""
BUFFER_LEFT, BUFFER_WIDTH = 476.0, 84.0


def pack(
    here: torch.Tensor,
    a: torch.Tensor,
    m: torch.Tensor,
    u: torch.Tensor,
    outcome: torch.Tensor,
    correct: torch.Tensor,
    sent: torch.Tensor,
) -> torch.Tensor:
    """Numbers of ``MacState.log``, int16; 0 on empty seats.

    Args:
        here: (rows, N) bool.
        a: (rows, N) int64 physical actions.
        m: (rows, N) int64 downlink messages, below 8.
        u: (rows, N) int64 uplink messages, below 8.
        outcome: (rows, 1) int64.
        correct: (rows, N) bool: deletes of delivered packets.
        sent: (rows, N) bool.
    """
    said = (a << ACTION) + (m << DCM) + (u << UCM) + (outcome << OUTCOME) + 1
    return ((said + (correct * (1 << CORRECT)) + (sent * (1 << SENT))) * here).to(torch.int16)


def draw_scene(system: LlmMac, state: MacState, row: int, canvas: Canvas) -> None:
    """Paint one row on a clear canvas.

    Args:
        system: of the state.
        state: of all rows.
        row: which one.
        canvas: 600 x 400.
    """
    p = system.params
    slot = int(state.slot[row])
    ids = state.agent_id[row].tolist()
    canvas.text((8, 8), "LLM-MAC", size=16, bold=True)
    words = f"{p.timing}, slot {slot} of {p.horizon_slots}, {sum(i >= 0 for i in ids)} users"
    canvas.text((96, 11), words, color=MUTED)
    done = int(state.delivered[row].sum())
    words = f"now here: {done} delivered, Jain {float(state.jain[row, 0]):.3f}"
    canvas.text((592, 11), words, align="right", bold=True)
    _draw_grid(state, row, canvas, ids, slot)
    _draw_buffers(system, state, row, canvas, ids)
    _draw_legend(canvas)


def _seat_tops(seats: int) -> tuple[list[float], float]:
    """Tops of the lines of the seats, and their height."""
    pitch = min((BOTTOM - TOP) / seats, 44.0)
    return [TOP + i * pitch for i in range(seats)], pitch


def _draw_grid(state: MacState, row: int, canvas: Canvas, ids: list[int], slot: int) -> None:
    log = state.log[row].tolist()
    tops, pitch = _seat_tops(len(ids))
    width = (RIGHT - LEFT) / LOG_SLOTS
    first = max(slot - LOG_SLOTS, 0)
    canvas.text((LEFT, TOP - 34), "slot", size=11, color=MUTED)
    for column in range(LOG_SLOTS):
        x = LEFT + column * width
        if (first + column) % 4 == 0:
            words = str(first + column)
            canvas.text((x + width / 2, TOP - 18), words, size=11, color=MUTED, align="center")
        back = slot - 1 - (first + column)  # newest first in the log
        for seat, y in enumerate(tops):
            canvas.box((x + 0.5, y + 0.5), (width - 1, pitch - 1), color=EMPTY)
            if back >= 0 and log[back][seat]:
                _draw_cell(canvas, (x, y), (width, pitch), log[back][seat])
    for seat, (number, y) in enumerate(zip(ids, tops, strict=True)):
        taken = number >= 0
        words = f"ue_{number}" if taken else "free"
        if pitch >= 12:
            name = f"{seat}  {words}"
            color = INK if taken else GRID
            canvas.text((LEFT - 6, y + pitch / 2 - 7), name, size=11, color=color, align="right")


def _draw_cell(
    canvas: Canvas, at: tuple[float, float], size: tuple[float, float], code: int
) -> None:
    """One user in one slot."""
    (x, y), (w, h) = at, size
    action = code >> ACTION & 3
    message, request = code >> DCM & 7, code >> UCM & 7
    color: Color = (255, 255, 255)
    if action == TRANSMIT:
        color = OUTCOME_COLORS[code >> OUTCOME & 7] if code >> SENT & 1 else VOID_COLOR
    elif action == DELETE:
        color = DELETE_COLOR if code >> CORRECT & 1 else INK
    canvas.box((x + 0.5, y + 0.5), (w - 1, h - 1), color=color)
    canvas.box((x + 0.5, y + 0.5), (w - 1, h - 1), color=GRID, width=1)
    ink = INK if color in ((255, 255, 255), VOID_COLOR, DUP_COLOR) else (255, 255, 255)
    if h >= 12 and message in (DCM_SG, DCM_ACK):
        letter = "G" if message == DCM_SG else "A"
        canvas.text((x + 3, y + 1), letter, size=10, color=ink, bold=True)
    if request != UCM_NULL:
        canvas.circle((x + w - 4.5, y + h - 4.5), 2, color=ink)


def _draw_buffers(
    system: LlmMac, state: MacState, row: int, canvas: Canvas, ids: list[int]
) -> None:
    size = system.params.buffer_size
    tops, pitch = _seat_tops(len(ids))
    canvas.text((BUFFER_LEFT, TOP - 18), f"buffer of {size}", size=11, color=MUTED)
    queues, known = state.q[row].tolist(), state.d[row].tolist()
    for number, y, q, d in zip(ids, tops, queues, known, strict=True):
        if number < 0:
            continue
        shares = [(d / size, DELETE_COLOR), ((q - d) / size, LOST_COLOR)]
        high = max(pitch - 6, 2)
        canvas.bar((BUFFER_LEFT, y + 3), (BUFFER_WIDTH, high), shares, vertical=False)
        if pitch >= 12:
            at = (BUFFER_LEFT + BUFFER_WIDTH + 6, y + pitch / 2 - 7)
            canvas.text(at, str(q), size=11, bold=True)


def _draw_legend(canvas: Canvas) -> None:
    x, y = 8.0, 354.0
    for word, color in LEGEND:
        canvas.box((x, y + 3), (10, 10), color=color)
        canvas.text((x + 14, y), word, size=12)
        x += 26 + 6.6 * len(word)
    words = "void: on an empty buffer"
    canvas.text((592, y), words, size=12, color=MUTED, align="right")
    canvas.text((8, 374), "G granted", size=12, bold=True)
    canvas.text((82, 374), "A acknowledged", size=12, bold=True)
    canvas.circle((196, 382), 2)
    canvas.text((202, 374), "request or message", size=12, bold=True)
    canvas.box((BUFFER_LEFT, 377), (10, 10), color=DELETE_COLOR)
    canvas.text((BUFFER_LEFT + 14, 374), "delivered", size=12)
    canvas.box((BUFFER_LEFT - 80, 377), (10, 10), color=LOST_COLOR)
    canvas.text((BUFFER_LEFT - 66, 374), "waiting", size=12)

"""The canvas on which systems paint their state, and the screen that shows it.

Painting is done with pygame on an off-screen surface, which takes a few milliseconds a frame;
pygame is imported on the first frame only (it is in the ``render`` extra).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sixgym.envs.core.errors import OptionsError

if TYPE_CHECKING:
    from sixgym.envs.core.system import System

WIDTH, HEIGHT = 600, 400
"""Pixels of a frame."""

Color = tuple[int, int, int]
Point = tuple[float, float]

INK: Color = (32, 36, 44)
PAPER: Color = (250, 250, 247)
GRID: Color = (214, 216, 220)
MUTED: Color = (112, 118, 130)
PALETTE: tuple[Color, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (230, 159, 0),
    (120, 94, 160),
    (90, 90, 90),
)
"""Okabe and Ito's colours for the colour-blind [standard], then two more."""


class Canvas:
    """A 600 x 400 picture; coordinates in pixels from the upper left corner."""

    def __init__(self) -> None:
        pygame = _pygame()
        self._pygame = pygame
        self.surface = pygame.Surface((WIDTH, HEIGHT))
        self._fonts: dict[tuple[int, bool], Any] = {}
        self.clear()

    def clear(self, color: Color = PAPER) -> None:
        """Paint all of it in one colour."""
        self.surface.fill(color)

    def text(
        self,
        at: Point,
        words: str,
        *,
        size: int = 13,
        color: Color = INK,
        bold: bool = False,
        align: str = "left",
    ) -> None:
        """Write one line with its upper left corner (or centre, or right end) at a point."""
        key = (size, bold)
        if key not in self._fonts:
            font = self._pygame.font.Font(None, round(size * 1.4))
            font.set_bold(bold)
            self._fonts[key] = font
        image = self._fonts[key].render(words, True, color)
        shift = {"left": 0.0, "center": image.get_width() / 2, "right": float(image.get_width())}
        self.surface.blit(image, (round(at[0] - shift[align]), round(at[1])))

    def line(self, start: Point, end: Point, *, color: Color = INK, width: int = 1) -> None:
        """A straight line; smooth where it is one pixel wide."""
        if width == 1:
            self._pygame.draw.aaline(self.surface, color, start, end)
        else:
            self._pygame.draw.line(self.surface, color, start, end, width)

    def lines(self, points: Sequence[Point], *, color: Color = INK) -> None:
        """A smooth open line through two or more points."""
        if len(points) >= 2:
            self._pygame.draw.aalines(self.surface, color, False, points)

    def box(
        self,
        corner: Point,
        size: tuple[float, float],
        *,
        color: Color = INK,
        width: int = 0,
        radius: int = 0,
    ) -> None:
        """A rectangle, filled where width is 0."""
        rect = self._pygame.Rect(round(corner[0]), round(corner[1]), round(size[0]), round(size[1]))
        self._pygame.draw.rect(self.surface, color, rect, width, border_radius=radius)

    def circle(self, center: Point, radius: float, *, color: Color = INK, width: int = 0) -> None:
        """A circle, filled where width is 0."""
        self._pygame.draw.circle(self.surface, color, center, radius, width)

    def polygon(self, points: Sequence[Point], *, color: Color = INK, width: int = 0) -> None:
        """A closed polygon, filled where width is 0."""
        self._pygame.draw.polygon(self.surface, color, points, width)

    def bar(
        self,
        corner: Point,
        size: tuple[float, float],
        shares: Sequence[tuple[float, Color]],
        *,
        vertical: bool = True,
    ) -> None:
        """A stacked bar in a frame: shares of 1 of its length, from the bottom (or the left)."""
        (x, y), (w, h) = corner, size
        self.box(corner, size, color=(236, 237, 239))
        done = 0.0
        for share, color in shares:
            part = max(0.0, min(share, 1.0 - done))
            if vertical:
                self.box((x, y + h * (1 - done - part)), (w, h * part), color=color)
            else:
                self.box((x + w * done, y), (w * part, h), color=color)
            done += part
        self.box(corner, size, color=MUTED, width=1)

    def array(self) -> Any:
        """The picture as (height, width, 3) uint8, a fresh array."""
        import numpy as np

        pixels = self._pygame.surfarray.array3d(self.surface)
        return np.ascontiguousarray(pixels.transpose(1, 0, 2))


class Screen:
    """Shows rows of a system in one render mode.

    Raises:
        OptionsError: the system does not offer the mode.
    """

    def __init__(self, system: System[Any, Any], mode: str | None, fps: int) -> None:
        if mode is not None and mode not in render_modes(system):
            allowed = ", ".join(map(repr, [None, *render_modes(system)]))
            raise OptionsError(f"render_mode={mode!r}: allowed: {allowed}")
        self._system = system
        self._mode = mode
        self._fps = fps
        self._canvas: Canvas | None = None
        self._window: Any = None
        self._clock: Any = None

    def show(self, state: Any, row: int) -> Any:
        """Show a row: an array for ``"rgb_array"``, a text for ``"ansi"``, None for ``"human"``.

        Raises:
            OptionsError: the environment was made without a render mode.
        """
        if self._mode is None:
            raise OptionsError("render_mode=None: make the environment with a render mode")
        if self._mode == "ansi":
            return self._system.describe(state, row)
        if self._canvas is None:
            self._canvas = Canvas()
        self._canvas.clear()
        self._system.draw(state, row, self._canvas)
        if self._mode == "rgb_array":
            return self._canvas.array()
        self._update_window(self._canvas)
        return None

    def _update_window(self, canvas: Canvas) -> None:
        pygame = _pygame()
        if self._window is None:
            pygame.display.init()
            pygame.display.set_caption(f"sixgym {type(self._system).__name__}")
            self._window = pygame.display.set_mode((WIDTH, HEIGHT))
            self._clock = pygame.time.Clock()
        pygame.event.pump()
        self._window.blit(canvas.surface, (0, 0))
        pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Close the window; can be called again."""
        if self._window is not None:
            _pygame().display.quit()
            self._window = None

    def __getstate__(self) -> dict[str, Any]:
        """Surfaces and windows are not pickled; they are made again on use."""
        return {**self.__dict__, "_canvas": None, "_window": None, "_clock": None}


def render_modes(system: System[Any, Any]) -> list[str]:
    """The modes a system offers: pictures where it draws them, text where it has words."""
    pictures = ["human", "rgb_array"] if type(system).has_picture() else []
    return pictures + (["ansi"] if type(system).has_words() else [])


def _pygame() -> Any:
    """Pygame with its fonts ready.

    Raises:
        OptionsError: it is not installed.
    """
    try:
        import pygame
    except ImportError:
        raise OptionsError("render_mode: needs pygame: pip install 'sixgym[render]'") from None
    if not pygame.font.get_init():
        pygame.font.init()
    return pygame

"""Published formulas for the tokens of an image, from its size in pixels and the level of detail. Pure.

Each takes width and height, or None where the size is not known, and the `detail` of OpenAI's API. The result is then
the most that an image of any size has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["ImageFormula", "claude_image", "gemini_image", "openai_patches", "openai_tiles"]

Size: TypeAlias = tuple[int, int]
ImageFormula: TypeAlias = Callable[[Size | None, str], int]
"""From the size, None if it is unknown, and the level of detail to tokens."""

_TILE = 512
_OPENAI_SIDE, _OPENAI_SHORT_SIDE = 2048, 768
_OPENAI_LARGEST = (2048, 768)
_PATCH, _MOST_PATCHES = 32, 1536
_CLAUDE_SIDE, _CLAUDE_PIXELS_PER_TOKEN, _CLAUDE_MOST = 1568, 750, 1600
_GEMINI_SMALL, _GEMINI_TILE, _GEMINI_MOST_TILES = 384, 258, 12


def openai_tiles(base: int, per_tile: int) -> ImageFormula:
    """GPT-4o, GPT-4.1, GPT-4.5, o1, o3, GPT-5: a base, and a number for each tile of 512 pixels.

    The image is scaled into a square of 2,048 pixels, and then to 768 on its shorter side. `detail="low"` is the base.
    """

    def tokens(size: Size | None, detail: str) -> int:
        if detail == "low":
            return base
        width, height = size or _OPENAI_LARGEST
        scale = min(1.0, _OPENAI_SIDE / max(width, height))
        scale *= min(1.0, _OPENAI_SHORT_SIDE / (min(width, height) * scale))
        tiles = math.ceil(round(width * scale) / _TILE) * math.ceil(round(height * scale) / _TILE)
        return base + per_tile * tiles

    return tokens


def openai_patches(factor: float) -> ImageFormula:
    """GPT-4.1-mini, GPT-4.1-nano, o4-mini, GPT-5-mini, GPT-5-nano: patches of 32 pixels, at most 1,536, by a factor."""

    def tokens(size: Size | None, detail: str) -> int:
        del detail
        return math.ceil((_MOST_PATCHES if size is None else _patches(*size)) * factor)

    return tokens


def _patches(width: int, height: int) -> int:
    patches = math.ceil(width / _PATCH) * math.ceil(height / _PATCH)
    if patches <= _MOST_PATCHES:
        return patches
    shrink = math.sqrt(_PATCH**2 * _MOST_PATCHES / (width * height))
    across, down = width * shrink / _PATCH, height * shrink / _PATCH
    shrink *= min(math.floor(across) / across, math.floor(down) / down)
    return math.ceil(round(width * shrink / _PATCH, 6)) * math.ceil(round(height * shrink / _PATCH, 6))


def claude_image(size: Size | None, detail: str) -> int:
    """Claude: a token for 750 pixels, after scaling to 1,568 pixels on the longer side and 1,600 tokens."""
    del detail
    if size is None:
        return _CLAUDE_MOST
    width, height = size
    scale = min(1.0, _CLAUDE_SIDE / max(width, height))
    return min(math.ceil(width * scale * height * scale / _CLAUDE_PIXELS_PER_TOKEN), _CLAUDE_MOST)


def gemini_image(size: Size | None, detail: str) -> int:
    """Gemini: 258 tokens up to 384 pixels on both sides, otherwise 258 for each tile of its crops."""
    del detail
    if size is None:
        return _GEMINI_TILE * _GEMINI_MOST_TILES
    width, height = size
    if max(width, height) <= _GEMINI_SMALL:
        return _GEMINI_TILE
    unit = min(max(math.floor(min(width, height) / 1.5), 256), 768)
    return _GEMINI_TILE * math.ceil(width / unit) * math.ceil(height / unit)

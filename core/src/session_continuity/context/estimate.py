"""An estimate of a text's tokens, for models whose tokenizer is not public and for callers that name no model. Pure."""

from __future__ import annotations

import re

__all__ = ["estimate_tokens"]

_PIECES = re.compile(r"[A-Z]?[a-z]+|[A-Z]+| ?[0-9]+|[^\x00-\x7f]+|[!-/:-@\[-`{-~]+|\s{2,}")
"""What tokenizers do not cross: words, the parts of camelCase, numbers, other scripts, punctuation, blank space. Single
spaces belong to the word after them."""

_LONG_WORD, _LONGER_WORD = 8, 12


def estimate_tokens(text: str) -> int:
    """About a tenth more tokens than a text has for the models of today, in prose, code, JSON and other scripts.

    `docs/contexts.md` has a table of its errors.
    """
    total = sum(map(_of_piece, _PIECES.findall(text)))
    return total + (total + 9) // 10


def _of_piece(piece: str) -> int:
    size, last = len(piece), piece[-1]
    if not last.isascii():
        return _of_other_script(piece)
    if last.islower():
        return 1 if size < _LONG_WORD else 2 if size < _LONGER_WORD else (size + 4) // 5
    if last.isdigit():
        return (size + 2) // 3 + (piece[0] == " ")
    return 1 + size // 12 if last.isspace() else (size + 1) // 2


def _of_other_script(piece: str) -> int:
    """From the bytes: alphabets have two a character, Indian and Asian scripts three, emoji four."""
    characters, size = len(piece), len(piece.encode(errors="replace"))
    return (size + 2) // 3 + max(size - 2 * characters, 0) // 3 + max(size - 3 * characters, 0)

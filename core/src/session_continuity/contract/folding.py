"""How texts are compared where case does not count."""

from __future__ import annotations

from unicodedata import normalize

__all__ = ["folded"]


def folded(text: str) -> str:
    """The text in a form that is equal for texts that differ only in case or in how characters are encoded.

    It is NFKC of the case-folded NFKC, by Unicode's tables and no language's rules. So `ß` is `ss`, a full-width letter
    is the usual one, and an accent counts, whether it is one character with its letter or two.
    """
    return text.lower() if text.isascii() else normalize("NFKC", normalize("NFKC", text).casefold())

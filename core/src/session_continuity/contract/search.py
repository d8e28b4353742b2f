"""What a search of messages looks for, and in what: the one definition that every store keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from unicodedata import category

from session_continuity.contract.folding import folded
from session_continuity.errors import ValidationError
from session_continuity.values import Content

__all__ = ["SearchTerms", "searched_words", "words_of"]

MAX_WORDS = 64
"""The most words of a search."""

LONGEST_WORD = 64
"""The characters of the longest word. A longer run of letters is several words."""

_SEARCHED_ROLES = frozenset({"user", "assistant"})

# Scripts that are written without spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)

_ASCII_WORD = re.compile(f"[0-9a-z]{{1,{LONGEST_WORD}}}")


def words_of(text: str) -> list[str]:
    """The words of a text, `folded`, in order.

    A word is a run of letters and digits with the marks that belong to them, of at most 64 characters. In scripts that
    are written without spaces, such as Chinese, Japanese and Thai, each letter is a word.
    """
    plain = folded(text)
    return (_ASCII_WORD if plain.isascii() else _word()).findall(plain)


def searched_words(role: str, content: Content) -> list[str]:
    """The words of a message in which a search looks for its own: those of what a user or an assistant said.

    They are the words of the content, or of each block's `text`. Other roles have none.
    """
    return [word for text in _texts(content) for word in words_of(text)] if role in _SEARCHED_ROLES else []


def _texts(content: Content) -> Iterator[str]:
    if isinstance(content, str):
        yield content
        return
    for block in content:
        text = block.get("text")
        if isinstance(text, str):
            yield text


@dataclass(frozen=True, slots=True)
class SearchTerms:
    """What a search looks for: for each part of its text between spaces, the words that follow each other.

    The last word of the text may be the beginning of a longer one.
    """

    phrases: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, text: str) -> SearchTerms:
        """The terms of a text. Raises ValidationError if it has no word, or more than 64."""
        phrases = tuple(phrase for part in text.split() if (phrase := tuple(words_of(part))))
        if not phrases or sum(map(len, phrases)) > MAX_WORDS:
            raise ValidationError(f"text must have 1 to {MAX_WORDS} words to search for")
        return cls(phrases)

    def are_in(self, words: Sequence[str]) -> bool:
        """Whether a message with these words meets every term."""
        *whole, last = self.phrases
        return all(_has(words, phrase, is_last=False) for phrase in whole) and _has(words, last, is_last=True)


def _has(words: Sequence[str], phrase: Sequence[str], *, is_last: bool) -> bool:
    first, size = phrase[0], len(phrase)
    *whole, end = phrase
    for place in range(len(words) - size + 1):
        if size > 1 and words[place] != first:
            continue
        found = words[place + size - 1]
        if (found.startswith(end) if is_last else found == end) and list(words[place : place + size - 1]) == whole:
            return True
    return False


@cache
def _word() -> re.Pattern[str]:
    """The pattern of a word of any script. It is made when it is first needed, because it looks at every mark."""
    marks = "".join(character for character in map(chr, range(0x300, 0x20000)) if category(character)[0] == "M")
    letter = f"[^\\W_{_UNSPACED}]"
    return re.compile(f"[{_UNSPACED}][{marks}]*|{letter}(?:{letter}|[{marks}]){{0,{LONGEST_WORD - 1}}}")

"""The conversation that every subject stores: the same texts in the same order, 200 to 2,000 characters, about 1 KB."""

from __future__ import annotations

from collections.abc import Iterator

TEXT = (
    "the invoice shows a second charge from the third of March and I would like to know whether it will be refunded "
    "because my bank says that the payment was confirmed twice by your system and support told me to wait for a week"
)
WORDS = TEXT.split()
SIZES = (200, 1400, 420, 2000, 800, 1700, 310, 1200)
ROLES = ("user", "assistant")


def texts() -> Iterator[tuple[str, str]]:
    """Role and text of message after message, without end."""
    number = 0
    while True:
        size = SIZES[number % len(SIZES)]
        turned = WORDS[number % len(WORDS) :] + WORDS[: number % len(WORDS)]
        text = f"{number}: " + " ".join(turned * (size // 200 + 1))
        yield ROLES[number % 2], text[:size]
        number += 1

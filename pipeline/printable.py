"""Which characters a short text that people and other programs read may have: labels, principals, names of sources.

Not `str.isprintable`: which characters that refuses depends on Python's version, and no schema can say it.
"""

from __future__ import annotations

import re

#: Ranges of Unicode's control and format characters (such as those that turn the direction of a text or have no
#: width), of separators of lines, and of all spaces but U+0020.
_RANGES = (
    (0x0000, 0x001F), (0x007F, 0x00A0), (0x00AD, 0x00AD), (0x0600, 0x0605), (0x061C, 0x061C), (0x06DD, 0x06DD),
    (0x070F, 0x070F), (0x0890, 0x0891), (0x08E2, 0x08E2), (0x1680, 0x1680), (0x180E, 0x180E), (0x2000, 0x200F),
    (0x2028, 0x202F), (0x205F, 0x206F), (0x3000, 0x3000), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0x110BD, 0x110BD),
    (0x110CD, 0x110CD), (0x13430, 0x13438), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0001, 0xE007F),
)  # fmt: skip
_UNPRINTABLE = "".join(chr(first) if first == last else f"{chr(first)}-{chr(last)}" for first, last in _RANGES)
#: A text of printable characters without space around it, as a regular expression for Python, Rust and JSON Schema.
PATTERN = f"^[^ {_UNPRINTABLE}]([^{_UNPRINTABLE}]*[^ {_UNPRINTABLE}])?$"


def is_printable(text: str) -> bool:
    """Return whether a text is not empty, has only printable characters and no space around it."""
    return re.fullmatch(PATTERN[1:-1], text) is not None

"""What is counted, as programs name it."""

from __future__ import annotations

import re
from typing import Union

Key = Union[str, tuple[str, ...]]
"""What is counted: 1 to 1 024 bytes of text without NUL, or parts of it."""


def joined(key: Key) -> str:
    r"""The text that is counted.

    Parts are joined as every client of Weir joins them: `("user", "u1")` is `user:u1`, and a `:` or `\` inside of a part
    gets a `\` before it, so that no two tuples of one size share a counter.
    """
    if isinstance(key, str):
        return key
    return ":".join(re.sub(r"[:\\]", r"\\\g<0>", part) for part in key)

"""Every error code used in the code is in the closed list, and every code of the list is used."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.errors import CODES

ROOT = Path(__file__).parents[2]
RAISED = re.compile(r"""(?:Rejected|Unavailable|Refused|Misconfigured)\(\s*["']([a-z-]+)["']""")


def test_raised_codes_are_in_the_list() -> None:
    raised = {
        code
        for folder in ("pipeline", "indexes", "workers", "models")
        for path in (ROOT / folder).rglob("*.py")
        for code in RAISED.findall(path.read_text())
    }
    assert raised <= set(CODES), raised - set(CODES)


def test_no_code_is_dead() -> None:
    text = "\n".join(
        path.read_text()
        for folder in ("pipeline", "indexes", "workers", "models")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "errors.py"
    )
    assert {code for code in CODES if f'"{code}"' not in text} == set()

"""What some tests need of the machine. A skip names what is missing and how to install it.

`make test` as root installs the programs (system_packages.sh in this folder).
"""

from __future__ import annotations

import shutil

import pytest


def missing_program(what: str, package: str) -> str:
    """Return the reason for which a test is skipped without a program."""
    return f"{what} is missing: sudo apt-get install {package}"


def program(name: str, package: str) -> pytest.MarkDecorator:
    """Skip a test unless the machine has a program."""
    return pytest.mark.skipif(shutil.which(name) is None, reason=missing_program(name, package))

"""What some tests need of the machine. A skip says what is missing and how to get it; `make test` as root installs the programs
(system_packages.sh beside this file)."""

from __future__ import annotations

import shutil

import pytest


def missing_from_index(what: str, package: str) -> str:
    """Why a test is skipped for a program."""
    return f"{what} is missing: sudo apt-get install {package}"


def program(name: str, package: str) -> pytest.MarkDecorator:
    """A test that calls a program of the system."""
    return pytest.mark.skipif(shutil.which(name) is None, reason=missing_from_index(name, package))

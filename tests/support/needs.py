"""What some tests need of the machine. A skip names what is missing and how to install it.

`make test` as root installs the programs (system_packages.sh in this folder).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def missing_program(what: str, package: str) -> str:
    """Return the reason for which a test is skipped without a program."""
    return f"{what} is missing: sudo apt-get install {package}"


def program(name: str, package: str) -> pytest.MarkDecorator:
    """Skip a test unless the machine has a program."""
    return pytest.mark.skipif(shutil.which(name) is None, reason=missing_program(name, package))


def network_namespaces() -> pytest.MarkDecorator:
    """Skip a test unless the kernel grants this user a network namespace."""
    code = "from pipeline.parse.confine import *; exit(not (unshare(CLONE_NEWNET) or isolate_network()))"
    process = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    reason = "network namespaces are refused: run as root, or sudo sysctl -w kernel.unprivileged_userns_clone=1"
    return pytest.mark.skipif(process.returncode != 0, reason=reason)

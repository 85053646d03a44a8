"""Bytes to elements: the readers, and the killable process that they run in."""

from __future__ import annotations

from pipeline.parse.limits import ParseLimits
from pipeline.parse.sandbox import SandboxedParser

__all__ = ["ParseLimits", "SandboxedParser"]

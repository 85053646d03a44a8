"""The text of images, by the tesseract program where it is installed.

A page takes about 3 s at 200 dpi; by unstructured it takes 13.
"""

from __future__ import annotations

import functools
import io
import subprocess
import time
from typing import TYPE_CHECKING

from pipeline.parse.findings import Findings
from pipeline.parse.readers.text import add_text

if TYPE_CHECKING:
    from PIL.Image import Image

_LONGEST_SIDE = 5000  # pixels: an A4 page at 400 dpi


def read_image(image: Image, findings: Findings, page: int) -> bool:
    """Add the text on the image. Return False if there is none.

    Without tesseract (flag "needs-ocr") or time (flag "truncated") nothing is read, and False returned.
    """
    if not findings.ocr_available:
        findings.flags.add("needs-ocr")
        return False
    seconds = findings.ocr_deadline() - time.monotonic()
    if seconds <= 1:
        findings.flags.add("truncated")
        return False
    text = _tesseract(to_png(image), findings, seconds)
    if not text.strip():
        return False
    findings.flags.add("ocr")
    add_text(findings, text, page, titles=False)
    return True


def to_png(image: Image) -> bytes:
    """Convert the image to an upright grey PNG, not larger than useful."""
    from PIL import Image as PillowImage
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image) or image
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        paper = PillowImage.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    image = image.convert("L")
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _tesseract(png: bytes, findings: Findings, seconds: float) -> str:
    installed = installed_languages()
    languages = [code for code in findings.limits.ocr_languages.split("+") if code in installed] or ["eng"]
    automatic, without_orientation = "1", "3"  # tesseract's page segmentation modes
    mode = automatic if "osd" in installed else without_orientation
    dpi = str(findings.limits.ocr_dpi)
    command = ["tesseract", "stdin", "stdout", "-l", "+".join(languages), "--dpi", dpi, "--psm"]
    try:
        process = subprocess.run([*command, mode], input=png, capture_output=True, timeout=seconds, check=False)
        if process.returncode and mode == automatic:  # too few characters to detect the orientation
            command.append(without_orientation)
            process = subprocess.run(command, input=png, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        findings.flags.add("truncated")
        return ""
    if process.returncode:
        findings.flags.add("ocr-failed")
    return process.stdout.decode("utf-8", "replace")


@functools.cache
def installed_languages() -> frozenset[str]:
    """Return the codes of tesseract's language data on this machine."""
    process = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=False)
    return frozenset(process.stdout.split()[-200:])

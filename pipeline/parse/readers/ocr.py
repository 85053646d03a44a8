"""Text of images, by the tesseract program where it is installed (about 3 s a page at 200 dpi; unstructured needs 13)."""

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


def read_image(image: Image, found: Findings, page: int) -> bool:
    """Add what is written on the image. False when nothing was, or when OCR is not there or out of time (flags say so)."""
    if not found.ocr_available:
        found.flags.add("needs-ocr")
        return False
    left = found.ocr_deadline() - time.monotonic()
    if left <= 1:
        found.flags.add("truncated")
        return False
    text = _tesseract(_png(image), found, left)
    if not text.strip():
        return False
    found.flags.add("ocr")
    add_text(found, text, page, titles=False)
    return True


def _png(image: Image) -> bytes:
    """Grey, upright, not larger than useful."""
    from PIL import Image as Pictures
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image) or image
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        paper = Pictures.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    image = image.convert("L")
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _tesseract(png: bytes, found: Findings, seconds: float) -> str:
    installed = _languages()
    languages = [word for word in found.limits.ocr_languages.split("+") if word in installed] or ["eng"]
    mode = "1" if "osd" in installed else "3"  # 1 also finds out how the page is turned
    command = [
        "tesseract",
        "stdin",
        "stdout",
        "-l",
        "+".join(languages),
        "--psm",
        mode,
        "--dpi",
        str(found.limits.ocr_dpi),
    ]
    try:
        process = subprocess.run(command, input=png, capture_output=True, timeout=seconds, check=False)
        if process.returncode and mode == "1":  # too few characters to find the orientation
            command[command.index("--psm") + 1] = "3"
            process = subprocess.run(command, input=png, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        found.flags.add("truncated")
        return ""
    if process.returncode:
        found.flags.add("ocr-failed")
    return process.stdout.decode("utf-8", "replace")


@functools.cache
def _languages() -> frozenset[str]:
    process = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=False)
    return frozenset(process.stdout.split()[-200:])

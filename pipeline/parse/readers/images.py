"""Images: opened only as one of the listed formats, within a limit of pixels, and read by OCR."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import BinaryIO

import PIL.Image
from PIL import ImageSequence

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers.ocr import read_image

FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "tiff": "TIFF", "bmp": "BMP", "webp": "WEBP"}
_SMALLEST_SIDE = 12  # pixels: no legible letter is smaller
_MULTI_PAGE = frozenset({"tiff"})  # the frames of a GIF are an animation, not pages


def read(file: BinaryIO, findings: Findings) -> None:
    """Read an image by OCR, page by page. Raises Rejected."""
    findings.parser = (
        f"tesseract, pillow {version('pillow')}" if findings.ocr_available else f"pillow {version('pillow')}"
    )
    limit = findings.limits.max_image_pixels
    PIL.Image.MAX_IMAGE_PIXELS = limit
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        try:
            with PIL.Image.open(file, formats=[FORMATS[findings.kind]]) as image:
                _read_pages(image, findings)
        except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
            raise _too_large(limit) from error
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise Rejected("damaged", "The image cannot be decoded; send it again.") from error


def _read_pages(image: PIL.Image.Image, findings: Findings) -> None:
    if findings.kind in _MULTI_PAGE and getattr(image, "n_frames", 1) > findings.limits.max_pages:
        raise Rejected("too-many-pages", f"The image has more pages than the limit of {findings.limits.max_pages}.")
    for number, frame in enumerate(ImageSequence.Iterator(image), 1):
        if frame.width * frame.height > findings.limits.max_image_pixels:
            raise _too_large(findings.limits.max_image_pixels)
        findings.pages = number
        frame.load()
        if min(frame.size) >= _SMALLEST_SIDE:
            read_image(frame, findings, number)
        if findings.kind not in _MULTI_PAGE:
            return


def _too_large(limit: int) -> Rejected:
    return Rejected("too-large", f"The image has more than {limit // 1_000_000} million pixels; scale it down.")

"""Pictures: opened by an explicit list of formats, within a limit of pixels, and read by OCR."""

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
_SMALLEST = 12  # pixels: no letter is lower
_SEVERAL = frozenset({"tiff"})  # pages; the frames of a GIF are an animation


def read(file: BinaryIO, found: Findings) -> None:
    found.parser = f"tesseract, pillow {version('pillow')}" if found.ocr_available else f"pillow {version('pillow')}"
    limit = found.limits.max_image_pixels
    PIL.Image.MAX_IMAGE_PIXELS = limit
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        try:
            with PIL.Image.open(file, formats=[FORMATS[found.kind]]) as image:
                _read_pages(image, found)
        except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
            raise _too_large(limit) from error
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise Rejected("damaged", "The image cannot be decoded; send it again.") from error


def _read_pages(image: PIL.Image.Image, found: Findings) -> None:
    if found.kind in _SEVERAL and getattr(image, "n_frames", 1) > found.limits.max_pages:
        raise Rejected("too-many-pages", f"The image has more pages than the limit of {found.limits.max_pages}.")
    for number, frame in enumerate(ImageSequence.Iterator(image), 1):
        if frame.width * frame.height > found.limits.max_image_pixels:
            raise _too_large(found.limits.max_image_pixels)
        found.pages = number
        frame.load()
        if min(frame.size) >= _SMALLEST:
            read_image(frame, found, number)
        if found.kind not in _SEVERAL:
            return


def _too_large(limit: int) -> Rejected:
    return Rejected("too-large", f"The image has more than {limit // 1_000_000} million pixels; scale it down.")

"""Paper: a laid-out page put through a scanner (bilevel, 200 dpi, slightly askew, with specks), or photographed."""

from __future__ import annotations

import io
import random
import time

import numpy as np
import pypdfium2 as pdfium
from PIL import Image, ImageFilter

DPI = 200
_DATE = time.struct_time((2026, 3, 2, 9, 0, 0, 0, 61, 0))


def scan(pdf: bytes, title: str) -> bytes:
    """Return the pages as pictures in a PDF without any text."""
    pages = [_sheet(page, number, title) for number, page in enumerate(_render(pdf, DPI))]
    buffer = io.BytesIO()
    pages[0].save(
        buffer, "PDF", save_all=True, append_images=pages[1:], resolution=DPI, title=title,
        producer="Larkspindle scanner 2", creationDate=_DATE, modDate=_DATE,
    )  # fmt: skip
    return buffer.getvalue()


def photograph(pdf: bytes, title: str) -> bytes:
    """Return the first page as it lies on a table, as PNG in sixteen greys: uneven light, a little turned and soft."""
    slip = _render(pdf, DPI)[0]
    noise = np.random.default_rng(sum(title.encode()))
    width, height = slip.width + 160, slip.height + 160
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    table = Image.fromarray((96 + 26 * np.sin(down * 9 + across * 2)).astype(np.uint8))
    turned = slip.rotate(1.3, resample=Image.Resampling.BICUBIC, expand=True, fillcolor=255)
    mask = Image.new("L", slip.size, 255).rotate(1.3, expand=True)
    table.paste(turned, (70, 60), mask)
    light = 0.80 + 0.20 * (1 - (across - 0.35) ** 2 - (down - 0.3) ** 2)
    photo = np.asarray(table.filter(ImageFilter.GaussianBlur(0.6)), dtype=float) * light
    grey = Image.fromarray(np.clip(photo + noise.normal(0, 1.5, photo.shape), 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    grey.quantize(16, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _render(pdf: bytes, dpi: int) -> list[Image.Image]:
    document = pdfium.PdfDocument(pdf)
    try:
        return [page.render(scale=dpi / 72, grayscale=True).to_pil().convert("L") for page in document]
    finally:
        document.close()


def _sheet(page: Image.Image, number: int, title: str) -> Image.Image:
    """Return the page as fed into the scanner by hand: turned by up to half a degree, with dust."""
    chance = random.Random(f"{title}/{number}")
    angle = chance.choice((-1, 1)) * chance.uniform(0.25, 0.55)
    turned = page.rotate(angle, resample=Image.Resampling.BICUBIC, fillcolor=255)
    pixels = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.7)), dtype=float)
    noise = np.random.default_rng(chance.randrange(2**31)).normal(0, 14, pixels.shape)
    black = pixels + noise < 150
    for _ in range(60):
        x, y = chance.randrange(page.width - 4), chance.randrange(page.height - 4)
        black[y : y + chance.randint(1, 3), x : x + chance.randint(1, 3)] = True
    return Image.fromarray(~black)

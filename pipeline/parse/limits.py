"""The resources that one document may use. Every field is a setting in the section ``[parse]``."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """The bounds of one parse. Sizes are bytes unless the name says otherwise, times are seconds.

    ``max_ratio`` (unpacked to packed size of an archive) applies only above ``ratio_floor`` unpacked bytes, since small
    documents compress well. ``max_depth`` bounds the nesting of mail and markup that a reader follows recursively.
    ``ocr_share`` is the share of ``wall_seconds`` after which no further page is read by OCR (flag "truncated").
    ``ocr_languages`` uses tesseract's notation ("eng+deu"). ``languages`` (ISO 639-1 or -3) replaces the detection.
    """

    memory_mb: int = 1536
    cpu_seconds: int = 120
    wall_seconds: float = 180.0
    max_pages: int = 2000
    max_bytes: int = 512 * MIB
    max_expanded: int = 512 * MIB
    max_ratio: float = 100.0
    ratio_floor: int = 8 * MIB
    max_entries: int = 10_000
    max_depth: int = 100
    max_output_bytes: int = 64 * MIB
    max_text_chars: int = 5_000_000
    max_cells: int = 1_000_000
    max_attachments: int = 200
    max_attachment_bytes: int = 128 * MIB
    max_image_pixels: int = 80_000_000
    ocr: bool = True
    ocr_languages: str = "eng"
    ocr_dpi: int = 200
    ocr_share: float = 0.6
    languages: tuple[str, ...] = ()

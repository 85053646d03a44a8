"""Writes the sample documents anew: ``python -m workers.demo.generate [FOLDER]`` (default: the shipped folder).

The texts lie in ``texts/`` under the sample's own path with ``.md`` added; see `workers.demo.generator.source`. The
same texts give the same bytes with the same versions of the libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from workers.demo.generator import mail, office, pandoc, pdf, scan
from workers.demo.generator.source import Source, read_source, read_sources

HERE = Path(__file__).parent
TEXTS, SAMPLES = HERE / "texts", HERE / "samples"
ATTACHMENTS = TEXTS / "attachments"
#: a copy under another name, as accounts forward what was already filed
DUPLICATES = {"inbox/scan-from-accounts.pdf": "finance/incoming/thistlemoor-invoice-20418.pdf"}
#: how a file arrives when the network share fails half-way
CUT_OFF = {"inbox/tender-offer.docx": 0.6}


def _pdf(source: Source) -> bytes:
    content = pdf.write_pdf(source)
    return scan.scan(content, source.title) if source.facts.get("scanned") else content


WRITERS: dict[str, Callable[[Source], bytes]] = {
    ".pdf": _pdf,
    ".docx": lambda source: _pdf(source) if source.facts.get("really") == "pdf" else office.write_docx(source),
    ".pptx": office.write_pptx,
    ".xlsx": office.write_xlsx,
    ".odt": lambda source: pandoc.write(source, "odt"),
    ".rtf": lambda source: pandoc.write(source, "rtf"),
    ".epub": lambda source: pandoc.write(source, "epub"),
    ".png": lambda source: scan.photograph(pdf.write_till_slip(source), source.title),
    ".eml": lambda source: mail.write_eml(source, _attachments(source)),
    ".msg": lambda source: mail.write_msg(source, _attachments(source)),
    ".csv": lambda source: source.body.encode(),
}


def generate(folder: Path) -> list[Path]:
    """Every sample below ``folder``, which may hold older ones; the files written, in order."""
    made = {
        source.path: _written(source) for source in read_sources(TEXTS) if not source.path.startswith("attachments/")
    }
    for path in _verbatim():
        made[path.relative_to(TEXTS).as_posix()] = path.read_bytes()
    made["inbox/empty-page.pdf"] = pdf.blank_page()
    made["inbox/blank-note.txt"] = b"\r\n \t\r\n\r\n"
    for copy, original in DUPLICATES.items():
        made[copy] = made[original]
    for path, share in CUT_OFF.items():
        made[path] = made[path][: int(len(made[path]) * share)]
    for path, content in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return [folder / path for path in sorted(made)]


def _written(source: Source) -> bytes:
    return WRITERS[Path(source.path).suffix](source)


def _attachments(source: Source) -> dict[str, bytes]:
    """The mail's attachments, made from their own texts."""
    texts = [read_source(ATTACHMENTS / f"{name}.md", ATTACHMENTS) for name in source.facts.get("attachments", ())]
    return {text.path: _written(text) for text in texts}


def _verbatim() -> list[Path]:
    """Plain-text samples are their own texts."""
    return sorted(p for p in TEXTS.rglob("*") if p.is_file() and not p.match("*.*.md"))


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    files = generate(folder)
    size = sum(file.stat().st_size for file in files)
    print(f"{len(files)} samples, {size / 1e6:.2f} MB, in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Write the sample documents anew: ``python -m tests.demo_samples.generate [FOLDER]`` (default: the shipped folder).

The texts are in ``texts/`` under the sample's own path with ``.md`` added; see `tests.demo_samples.source`. The same
texts give the same bytes with the same versions of the libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.demo_samples import mail, office, pandoc, pdf, scan
from tests.demo_samples.source import Source, read_source, read_sources
from workers.demo.samples_manifest import SAMPLES

TEXTS = Path(__file__).parent / "texts"
ATTACHMENTS = TEXTS / "attachments"
#: A copy under another name, as accounts forward what was already filed.
DUPLICATES = {"inbox/scan-from-accounts.pdf": "finance/incoming/thistlemoor-invoice-20418.pdf"}
#: The share of a file that arrives when the network fails half-way.
CUT_OFF = {"inbox/tender-offer.docx": 0.6}
#: Files without a text here: Outlook's format has no writer among the dependencies.
WRITTEN_ELSEWHERE = {"mail/hollin-vale-dry-run-seal.msg"}


def _pdf(source: Source) -> bytes:
    content = pdf.write_pdf(source)
    return scan.scan(content, source.title) if source.fields.get("scanned") else content


WRITERS: dict[str, Callable[[Source], bytes]] = {
    ".pdf": _pdf,
    ".docx": lambda source: _pdf(source) if source.fields.get("really") == "pdf" else office.write_docx(source),
    ".pptx": office.write_pptx,
    ".xlsx": office.write_xlsx,
    ".odt": lambda source: pandoc.write(source, "odt"),
    ".rtf": lambda source: pandoc.write(source, "rtf"),
    ".epub": lambda source: pandoc.write(source, "epub"),
    ".png": lambda source: scan.photograph(pdf.write_till_slip(source), source.title),
    ".eml": lambda source: mail.write_eml(source, _attachments(source)),
    ".csv": lambda source: source.body.encode(),
}


def generate(folder: Path) -> list[Path]:
    """Write every sample below ``folder``, over older ones; return the files, in order."""
    sources = [source for source in read_sources(TEXTS) if not source.path.startswith("attachments/")]
    contents = {source.path: _typeset(source) for source in sources}
    contents |= {path.relative_to(TEXTS).as_posix(): path.read_bytes() for path in _plain_texts()}
    contents["inbox/empty-page.pdf"] = pdf.blank_page()
    contents["inbox/blank-note.txt"] = b"\r\n \t\r\n\r\n"
    for copy, original in DUPLICATES.items():
        contents[copy] = contents[original]
    for path, share in CUT_OFF.items():
        contents[path] = contents[path][: int(len(contents[path]) * share)]
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return [folder / path for path in sorted(contents)]


def _typeset(source: Source) -> bytes:
    return WRITERS[Path(source.path).suffix](source)


def _attachments(source: Source) -> dict[str, bytes]:
    """Return the mail's attachments by file name, typeset from their own texts."""
    texts = [read_source(ATTACHMENTS / f"{name}.md", ATTACHMENTS) for name in source.fields.get("attachments", ())]
    return {text.path: _typeset(text) for text in texts}


def _plain_texts() -> list[Path]:
    """Return the plain-text samples, which are their own texts."""
    return sorted(path for path in TEXTS.rglob("*") if path.is_file() and not path.match("*.*.md"))


def main() -> int:
    """Generate the samples and print how many there are."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    files = generate(folder)
    size = sum(file.stat().st_size for file in files)
    print(f"{len(files)} samples, {size / 1e6:.2f} MB, in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

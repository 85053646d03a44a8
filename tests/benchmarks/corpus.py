"""500 generated documents of one to five pages in six formats: the same work for every end-to-end figure."""

from __future__ import annotations

import random
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

from docx import Document as Docx
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer

SUBJECTS = ("pump station", "office lease", "travel expenses", "data protection", "spare parts", "training plan",
            "delivery schedule", "quality audit", "site visit", "annual budget")  # fmt: skip
VERBS = ("reviews", "confirms", "changes", "sets out", "replaces", "extends", "records", "proposes")
OBJECTS = (
    "the terms agreed in March",
    "the amounts due by the end of the quarter",
    "the duties of both parties",
    "the steps that follow an incident",
    "the parts listed in the annex",
    "the dates of the next meetings",
)
WORDS_PER_PAGE = 350


def sentences(rng: random.Random, words: int) -> list[str]:
    """Return sentences of ordinary length with about ``words`` words in all."""
    lines: list[str] = []
    count = 0
    while count < words:
        text = (
            f"The {rng.choice(SUBJECTS)} note {rng.choice(VERBS)} {rng.choice(OBJECTS)}, "
            f"under reference {rng.choice('ABCDEFG')}{rng.randint(1000, 9999)}, for {rng.randint(2, 900)} units "
            f"at {rng.randint(10, 99999) / 100:.2f} each."
        )
        lines.append(text)
        count += len(text.split())
    return lines


def paragraphs(rng: random.Random, pages: int) -> list[str]:
    """Return paragraphs of six sentences that fill about ``pages`` pages."""
    lines = sentences(rng, pages * WORDS_PER_PAGE)
    return [" ".join(lines[i : i + 6]) for i in range(0, len(lines), 6)]


def write_pdf(path: Path, title: str, text: list[str]) -> None:
    style = getSampleStyleSheet()
    story = [Paragraph(title, style["Title"])]
    for paragraph in text:
        story += [Paragraph(paragraph, style["BodyText"]), Spacer(1, 8)]
    SimpleDocTemplate(str(path), pagesize=A4, invariant=1).build(story)


def write_docx(path: Path, title: str, text: list[str]) -> None:
    document = Docx()
    document.add_heading(title, 1)
    for paragraph in text:
        document.add_paragraph(paragraph)
    document.save(str(path))


def write_eml(path: Path, title: str, text: list[str]) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a.writer@example.org", "office@example.org", title
    mail.set_content("\n\n".join(text))
    path.write_bytes(mail.as_bytes())


def write_html(path: Path, title: str, text: list[str]) -> None:
    body = "".join(f"<p>{paragraph}</p>" for paragraph in text)
    path.write_text(f"<html><head><title>{title}</title></head><body><h1>{title}</h1>{body}</body></html>")


def write_text(path: Path, title: str, text: list[str]) -> None:
    path.write_text("\n\n".join([f"# {title}", *text]))


WRITERS: dict[str, Callable[[Path, str, list[str]], None]] = {
    "pdf": write_pdf, "docx": write_docx, "eml": write_eml, "html": write_html, "md": write_text, "txt": write_text,
}  # fmt: skip


def write_corpus(folder: Path, count: int = 500, seed: int = 7) -> list[Path]:
    """Write ``count`` files of 1 to 5 pages and return their paths: 40 % PDF, 20 % DOCX, 10 % of each other format."""
    rng = random.Random(seed)
    endings = ("pdf",) * 4 + ("docx",) * 2 + ("eml", "html", "md", "txt")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        ending = endings[number % len(endings)]
        title = f"{rng.choice(SUBJECTS).capitalize()} no. {number:04d}"
        path = folder / f"{number:04d}-{title.lower().replace(' ', '-').replace('.', '')}.{ending}"
        WRITERS[ending](path, title, paragraphs(rng, rng.randint(1, 5)))
        paths.append(path)
    return paths

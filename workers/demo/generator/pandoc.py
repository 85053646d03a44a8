"""OpenDocument, RTF, EPUB and HTML by pandoc."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pypandoc

from workers.demo.generator.source import Source
from workers.demo.generator.zipped import settle

#: 2026-03-02 09:00:00 UTC, which pandoc writes in place of now
_EPOCH = "1772442000"
_READS = "markdown-smart+pipe_tables-yaml_metadata_block"


def write(source: Source, kind: str) -> bytes:
    """``kind``: "odt", "rtf", "epub" or "html"."""
    options = ["--standalone", f"--metadata=title:{source.title}", "--metadata=lang:en-GB"]
    if kind == "epub":
        options += [f"--metadata=identifier:urn:larkspindle:{Path(source.path).stem}", "--metadata=date:2026-03-02"]
        options += [f"--metadata=author:{source.facts.get('author', 'Larkspindle Pump Works Ltd')}"]
    os.environ["SOURCE_DATE_EPOCH"] = _EPOCH  # pandoc runs as a program and inherits it
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"sample.{kind}")
        pypandoc.convert_text(source.body, kind, format=_READS, outputfile=str(file), extra_args=options)
        content = file.read_bytes()
    return content if kind in ("rtf", "html") else settle(content)

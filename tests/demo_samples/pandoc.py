"""OpenDocument, RTF and EPUB by pandoc."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pypandoc

from tests.demo_samples.source import Source
from tests.demo_samples.zipped import with_fixed_times

#: 2026-03-02 09:00:00 UTC, the time that pandoc writes. Set for pandoc alone: reportlab heeds it, too.
_EPOCH = "1772442000"
_READS = "markdown-smart+pipe_tables-yaml_metadata_block"


def write(source: Source, kind: str) -> bytes:
    """Return the document as ``kind``: "odt", "rtf" or "epub"."""
    command = [pypandoc.get_pandoc_path(), f"--from={_READS}", f"--to={kind}", "--standalone"]
    command += [f"--metadata=title:{source.title}", "--metadata=lang:en-GB"]
    if kind == "epub":
        command += [f"--metadata=identifier:urn:larkspindle:{Path(source.path).stem}", "--metadata=date:2026-03-02"]
        command += [f"--metadata=author:{source.fields.get('author', 'Larkspindle Pump Works Ltd')}"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"sample.{kind}")
        environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH}
        command.append(f"--output={file}")
        subprocess.run(command, input=source.body.encode(), env=environment, check=True, timeout=120)
        content = file.read_bytes()
    return content if kind == "rtf" else with_fixed_times(content)

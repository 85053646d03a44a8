"""Word and PowerPoint of before 2007: converted by LibreOffice where it is installed (private profile, no macros)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers.office import read_docx, read_pptx

_TARGETS = {"doc": ("docx", read_docx), "ppt": ("pptx", read_pptx)}


def read(file: BinaryIO, found: Findings) -> None:
    program = shutil.which("soffice") or shutil.which("libreoffice")
    target, reader = _TARGETS[found.kind]
    if program is None:
        text = f"Old {found.kind.upper()} files are read by LibreOffice, which is not installed; save it as {target.upper()} or PDF."
        raise Rejected("unsupported", text)
    source = Path(f"document.{found.kind}").absolute()
    source.write_bytes(file.read())
    command = [program, f"-env:UserInstallation=file://{source.parent}/profile", "--headless", "--norestore"]
    command += ["--convert-to", target, "--outdir", str(source.parent), str(source)]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    result = source.with_suffix(f".{target}")
    if not result.is_file():
        raise Rejected("damaged", "LibreOffice could not convert the file; save it as PDF and send that.")
    with result.open("rb") as converted:
        reader(converted, found)
    found.parser = f"LibreOffice, {found.parser}"

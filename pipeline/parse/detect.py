"""What a file is, told by its content. A name's ending decides only between kinds of plain text.

`detect` looks at magic bytes and structure; where name and content disagree the content wins and the flag "mismatch" is
set, so that a person looks at it. No file is tried with a second reader.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import PurePosixPath
from typing import BinaryIO

from pipeline.errors import Rejected
from pipeline.parse.kinds import IMAGES, KINDS, SUFFIXES, TEXTUAL, ZIPPED

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"{\\rtf", "rtf"),
    (b"%PDF-", "pdf"),
)
_UNREAD = (
    (b"Rar!", "RAR archive"), (b"7z\xbc\xaf", "7-Zip archive"), (b"\x1f\x8b", "gzip archive"), (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ", "xz archive"), (b"\x7fELF", "program"), (b"MZ", "program"), (b"OggS", "sound"), (b"ID3", "sound"),
    (b"%!PS", "PostScript file"), (b"\xc5\xd0\xd3\xc6", "PostScript file"), (b"AT&TFORM", "DjVu file"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000 image"), (b"8BPS", "Photoshop image"), (b"\x00\x00\x01\x00", "icon"),
    (b"SQLite format 3", "database"), (b"wOFF", "font"), (b"\x00\x01\x00\x00\x00", "font"),
)  # fmt: skip
_HTML = re.compile(rb"^(?:<!--.{0,2000}?-->|\s)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
_XML = re.compile(rb"^\s*<(?:\?xml|!DOCTYPE|svg|rss|feed)\b", re.I)
_HEADER = re.compile(rb"^(?:from|to|cc|bcc|subject|date|received|return-path|message-id|mime-version|delivered-to|x-[\w-]+"
                     rb"|content-type|dkim-signature|reply-to|sender|content-transfer-encoding):", re.I)  # fmt: skip
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def detect(file: BinaryIO, name: str) -> tuple[str, set[str]]:
    """(kind, flags). Raises Rejected("unsupported", "encrypted" or "damaged")."""
    promised = SUFFIXES.get(PurePosixPath(name).suffix.lower())
    file.seek(0)
    head = file.read(65536)
    kind = _by_magic(file, head, promised) or _by_text(head, promised)
    flags = {"mismatch"} if promised and not _agree(promised, kind) else set()
    if _polyglot(file, head, kind):
        flags.add("mismatch")
    return kind, flags


def _by_magic(file: BinaryIO, head: bytes, promised: str | None) -> str | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return _zip_kind(file, promised)
    if head.startswith(_OLE):
        return _ole_kind(file)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return _by_place(head) or _by_promise(head, promised)


def _by_place(head: bytes) -> str | None:
    """Magic that does not stand at the very beginning."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "bmp"
    if head[4:8] == b"ftyp":
        raise _unsupported("HEIF image or video")
    if b"%PDF-" in head[:1024] and b"obj" in head:
        return "pdf"  # readers accept a little rubbish before the header
    return None


def _by_promise(head: bytes, promised: str | None) -> str | None:
    """Formats that are named to say why they are not read, and old worksheets without a container."""
    for magic, what in _UNREAD:
        if head.startswith(magic) and (len(magic) > 3 or b"\0" in head):
            raise _unsupported(what)
    return "xls" if promised == "xls" and head[:1] == b"\x09" and head[1:2] in b"\0\2\4\x08" else None


def _by_text(head: bytes, promised: str | None) -> str:
    """The kind of plain text; damaged when the name promised something else and nothing of it is there."""
    if not looks_like_text(head):
        if promised and promised not in TEXTUAL:
            raise Rejected("damaged", f"The file does not begin like a {promised.upper()} file; send it again.")
        raise _unsupported("binary file")
    plain = head.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    if promised in TEXTUAL - {"txt"}:
        return promised
    if _HTML.match(plain):
        return "html"
    if promised == "txt":
        return "txt"
    if promised and not plain.lstrip()[:1]:
        raise Rejected("damaged", f"The file does not begin like a {promised.upper()} file; send it again.")
    return _by_sense(plain)


def _by_sense(plain: bytes) -> str:
    if _XML.match(plain):
        return "xml"
    if sum(1 for line in plain.split(b"\n")[:12] if _HEADER.match(line)) >= 2 and _HEADER.match(plain.split(b"\n")[0]):
        return "eml"
    if plain.lstrip()[:2] in (b'{"', b"[{", b"[[") and b'"' in plain[:200]:
        return "json"
    return "txt"


def looks_like_text(head: bytes) -> bool:
    """No binary: few control characters, once the NULs of UTF-16 and UTF-32 are set aside."""
    if not head.strip(b"\0 \t\r\n"):
        return bool(head.strip(b"\0"))
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        return True
    nuls = head.count(0)
    if nuls > max(3, len(head) * 0.02) and not _wide(head):
        return False
    control = sum(head.count(c) for c in (*range(1, 8), *range(14, 27), *range(28, 32)))
    return control <= len(head) * 0.02


def _wide(head: bytes) -> bool:
    """UTF-16 without its mark: NULs almost only at even or only at odd places."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    return max(even, odd) > len(head) * 0.2 and min(even, odd) < max(even, odd) * 0.05


def _zip_kind(file: BinaryIO, promised: str | None) -> str:
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            stated = (
                archive.read("mimetype")[:200].decode("ascii", "replace").strip() if _small(archive, "mimetype") else ""
            )
    except Rejected:
        raise
    except Exception as error:
        text = "The file is a cut-off or damaged archive (an Office document, most likely); send it again."
        raise Rejected("damaged", text) from error
    for kind, (media_type, _) in KINDS.items():
        if stated and stated.removesuffix("-template") == media_type:
            return kind
    for kind, part in (
        ("docx", "word/document"),
        ("pptx", "ppt/presentation"),
        ("xlsx", "xl/workbook.xml"),
        ("xlsb", "xl/workbook.bin"),
    ):
        if any(n.lower().startswith(part) for n in names):
            return kind
    return _zip_kind_by_types(names, promised)


def _zip_kind_by_types(names: set[str], promised: str | None) -> str:
    if "META-INF/container.xml" in names:
        return "epub"
    if "[Content_Types].xml" in names and promised in {"docx", "pptx", "xlsx"}:
        return promised  # its parts have unusual names; the reader follows the relationships
    if promised in ZIPPED:
        raise Rejected("damaged", f"The archive lacks the parts of a {promised.upper()} file; send it again.")
    raise _unsupported("ZIP archive", "unpack it and send the files that are in it")


def _small(archive: zipfile.ZipFile, name: str) -> bool:
    return name in archive.NameToInfo and archive.getinfo(name).file_size < 1000


def _ole_kind(file: BinaryIO) -> str:
    import olefile

    try:
        file.seek(0)
        with olefile.OleFileIO(file) as container:
            streams = {"/".join(entry).lower() for entry in container.listdir(streams=True)}
    except Exception as error:
        raise Rejected("damaged", "The file is a cut-off or damaged Office document; send it again.") from error
    tops = {s.split("/")[0] for s in streams}
    if "encryptedpackage" in tops:
        raise Rejected(
            "encrypted", "The Office document is protected by a password; remove it and send the file again."
        )
    marks = (("worddocument", "doc"), ("powerpoint document", "ppt"), ("workbook", "xls"), ("book", "xls"))
    for stream, kind in (*marks, ("__properties_version1.0", "msg")):
        if stream in tops:
            return kind
    raise _unsupported("OLE container")


def _agree(promised: str, kind: str) -> bool:
    if promised == kind or {promised, kind} <= TEXTUAL - {"html", "xml", "eml"}:
        return True
    return (promised, kind) in {
        ("xls", "xlsx"),
        ("xml", "html"),
        ("doc", "rtf"),
        ("txt", "html"),
        ("odt", "xml"),
        ("html", "eml"),
    }


def _polyglot(file: BinaryIO, head: bytes, kind: str) -> bool:
    """Two formats in one file: the header of one, the directory or header of another."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(max(0, size - 65557))
    tail = file.read()
    if kind in IMAGES or kind == "pdf":
        if _ends_in_directory(tail):
            return True
        if kind == "pdf" and not head.lstrip(b"\0\t\n\f\r \xef\xbb\xbf").startswith(b"%PDF-"):
            return _HTML.match(head) is not None or head.startswith((b"GIF8", b"\xff\xd8", b"PK", b"MZ"))
        return kind in IMAGES and b"%PDF-" in head[:1024]
    return kind in ZIPPED and b"%PDF-" in head[:1024]


def _ends_in_directory(tail: bytes) -> bool:
    """A ZIP end record whose comment reaches exactly to the end of the file."""
    at = tail.rfind(b"PK\x05\x06")
    return at >= 0 and len(tail) - at >= 22 and at + 22 + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail)


def _unsupported(what: str, hint: str = "convert it to PDF and send that") -> Rejected:
    return Rejected("unsupported", f"This is a {what}, which is not read; {hint}.")

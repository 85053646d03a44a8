"""The kind of a file, by its content. The name's suffix decides only between kinds of plain text.

`detect` looks at magic bytes and structure. Where name and content disagree the content wins, and the flag "mismatch"
asks a person to look at the file. No file is tried with a second reader.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import PurePosixPath
from typing import BinaryIO

from pipeline.errors import Rejected
from pipeline.parse.kinds import IMAGES, KINDS, SUFFIXES, TEXTUAL, ZIPPED

# Not the library filetype: it takes texts that begin with "BM", "GIF" or "MZ" for images and programs, and does not
# know BigTIFF, DjVu, EPUB or the members of OLE containers.
_MAGIC = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "png"),
    (re.compile(rb"\xff\xd8\xff"), "jpg"),
    (re.compile(rb"GIF8[79]a"), "gif"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "tiff"),
    (re.compile(rb"RIFF.{4}WEBP", re.S), "webp"),
    (re.compile(rb"BM.{4}\0{4}", re.S), "bmp"),
    (re.compile(rb"\{\\rtf"), "rtf"),
    (re.compile(rb"%PDF-"), "pdf"),
)
#: formats without a reader, named so that the error can say what the file is
_UNSUPPORTED = (
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"OggS", "a sound file"),
    (b"ID3", "a sound file"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"AT&TFORM", "a DjVu file"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"8BPS", "a Photoshop image"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"SQLite format 3", "a database"),
    (b"wOFF", "a font"),
    (b"\x00\x01\x00\x00\x00", "a font"),
)
_HTML = re.compile(rb"^(?:<!--.{0,2000}?-->|\s)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
_XML = re.compile(rb"^\s*<(?:\?xml|!DOCTYPE|svg|rss|feed)\b", re.I)
_MAIL_HEADER = re.compile(
    rb"^(?:from|to|cc|bcc|subject|date|received|return-path|message-id|mime-version|delivered-to|x-[\w-]+"
    rb"|content-type|dkim-signature|reply-to|sender|content-transfer-encoding):",
    re.I,
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS = (
    ("worddocument", "doc"),
    ("powerpoint document", "ppt"),
    ("workbook", "xls"),
    ("book", "xls"),
    ("__properties_version1.0", "msg"),
)
_OOXML_PARTS = (
    ("word/document", "docx"),
    ("ppt/presentation", "pptx"),
    ("xl/workbook.xml", "xlsx"),
    ("xl/workbook.bin", "xlsb"),
)
#: (kind by suffix, kind by content) that occur in good faith
_HARMLESS = frozenset(
    {("xls", "xlsx"), ("xml", "html"), ("doc", "rtf"), ("txt", "html"), ("odt", "xml"), ("html", "eml")}
)
_ZIP_END = b"PK\x05\x06"
_ZIP_END_SIZE, _ZIP_MAX_COMMENT = 22, 65_535


def detect(file: BinaryIO, name: str) -> tuple[str, set[str]]:
    """Return the kind (a key of KINDS) and the flags of a file.

    Raises Rejected("unsupported", "encrypted" or "damaged").
    """
    by_name = SUFFIXES.get(PurePosixPath(name).suffix.lower())
    file.seek(0)
    head = file.read(65536)
    kind = _by_magic(file, head, by_name) or _by_text(head, by_name)
    both_plain = {by_name, kind} <= TEXTUAL - {"html", "xml", "eml"}
    agree = by_name in (None, kind) or both_plain or (by_name, kind) in _HARMLESS
    return kind, set() if agree and not is_polyglot(file, head, kind) else {"mismatch"}


def _by_magic(file: BinaryIO, head: bytes, by_name: str | None) -> str | None:
    if head.startswith(_ZIP):
        return zip_kind(file, by_name)
    if head.startswith(_OLE):
        return ole_kind(file)
    for pattern, kind in _MAGIC:
        if pattern.match(head):
            return kind
    if head[4:8] == b"ftyp":
        raise _unsupported("a HEIF image or video")
    if b"%PDF-" in head[:1024] and b"obj" in head:
        return "pdf"  # readers accept a little rubbish before the header
    for magic, what in _UNSUPPORTED:
        if head.startswith(magic) and (len(magic) > 3 or b"\0" in head):
            raise _unsupported(what)
    # worksheets from before the OLE container have no magic bytes of their own
    return "xls" if by_name == "xls" and head[:1] == b"\x09" and head[1:2] in b"\0\2\4\x08" else None


def _by_text(head: bytes, by_name: str | None) -> str:
    """Return the kind of plain text. Raises Rejected, "damaged" if the name indicates a kind that is not text."""
    if not looks_like_text(head):
        if by_name and by_name not in TEXTUAL:
            raise _wrong_beginning(by_name)
        raise _unsupported("a binary file")
    plain = head.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    if by_name and by_name in TEXTUAL - {"txt"}:
        return by_name
    if _HTML.match(plain):
        return "html"
    if by_name == "txt":
        return "txt"
    if by_name and not plain.lstrip()[:1]:
        raise _wrong_beginning(by_name)
    return _by_syntax(plain)


def _wrong_beginning(kind: str) -> Rejected:
    return Rejected("damaged", f"The file does not begin like a {kind.upper()} file; send it again.")


def _by_syntax(plain: bytes) -> str:
    if _XML.match(plain):
        return "xml"
    lines = plain.split(b"\n")[:12]
    if _MAIL_HEADER.match(lines[0]) and sum(1 for line in lines if _MAIL_HEADER.match(line)) >= 2:
        return "eml"
    if plain.lstrip()[:2] in (b'{"', b"[{", b"[[") and b'"' in plain[:200]:
        return "json"
    return "txt"


def looks_like_text(head: bytes) -> bool:
    """Return True if there are few control characters, not counting the NULs of UTF-16 and UTF-32."""
    if not head.strip(b"\0 \t\r\n"):
        return bool(head.strip(b"\0"))
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        return True
    # UTF-16 without a byte order mark has NULs almost only at even or only at odd offsets
    even, odd = head[0::2].count(0), head[1::2].count(0)
    is_utf16 = max(even, odd) > len(head) * 0.2 and min(even, odd) < max(even, odd) * 0.05
    if even + odd > max(3, len(head) * 0.02) and not is_utf16:
        return False
    control = sum(head.count(c) for c in (*range(1, 8), *range(14, 27), *range(28, 32)))
    return control <= len(head) * 0.02


def zip_kind(file: BinaryIO, by_name: str | None) -> str:
    """Return the kind of a ZIP file by its parts. Raises Rejected("damaged" or "unsupported")."""
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            media_type = declared_media_type(archive)
    except Exception as error:
        text = "The file is a cut-off or damaged archive (an Office document, most likely); send it again."
        raise Rejected("damaged", text) from error
    for kind, (known_type, _) in KINDS.items():
        if media_type == known_type:
            return kind
    for part, kind in _OOXML_PARTS:
        if any(name.lower().startswith(part) for name in names):
            return kind
    if "META-INF/container.xml" in names:
        return "epub"
    if by_name and "[Content_Types].xml" in names and by_name in {"docx", "pptx", "xlsx"}:
        return by_name  # its parts have unusual names; the reader follows the relationships
    if by_name and by_name in ZIPPED:
        raise Rejected("damaged", f"The archive lacks the parts of a {by_name.upper()} file; send it again.")
    raise _unsupported("a ZIP archive", "unpack it and send the files that are in it")


def declared_media_type(archive: zipfile.ZipFile) -> str:
    """Return the media type that OpenDocument and EPUB store in a part of its own; empty in other archives."""
    entry = archive.NameToInfo.get("mimetype")
    if entry is None or entry.file_size >= 1000:
        return ""
    return archive.read(entry)[:200].decode("ascii", "replace").strip().removesuffix("-template")


def ole_kind(file: BinaryIO) -> str:
    """Return the kind of an OLE container by its streams. Raises Rejected("damaged", "encrypted" or "unsupported")."""
    import olefile

    try:
        file.seek(0)
        with olefile.OleFileIO(file) as container:
            streams = {entry[0].lower() for entry in container.listdir(streams=True)}
    except Exception as error:
        raise Rejected("damaged", "The file is a cut-off or damaged Office document; send it again.") from error
    if "encryptedpackage" in streams:
        raise Rejected(
            "encrypted", "The Office document is protected by a password; remove it and send the file again."
        )
    for stream, kind in _OLE_STREAMS:
        if stream in streams:
            return kind
    raise _unsupported("an OLE container")


def is_polyglot(file: BinaryIO, head: bytes, kind: str) -> bool:
    """Recognise two formats in one file: the header of one, the directory or header of another."""
    if kind in ZIPPED:
        return b"%PDF-" in head[:1024]
    if kind not in IMAGES and kind != "pdf":
        return False
    if _ends_in_zip_directory(file):
        return True
    if kind == "pdf" and not head.lstrip(b"\0\t\n\f\r \xef\xbb\xbf").startswith(b"%PDF-"):
        return _HTML.match(head) is not None or head.startswith((b"GIF8", b"\xff\xd8", b"PK", b"MZ"))
    return kind in IMAGES and b"%PDF-" in head[:1024]


def _ends_in_zip_directory(file: BinaryIO) -> bool:
    """Return True if there is a ZIP end record whose comment reaches exactly to the end of the file."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _ZIP_END_SIZE - _ZIP_MAX_COMMENT))
    tail = file.read()
    at = tail.rfind(_ZIP_END)
    if at < 0 or len(tail) - at < _ZIP_END_SIZE:
        return False
    comment = int.from_bytes(tail[at + _ZIP_END_SIZE - 2 : at + _ZIP_END_SIZE], "little")
    return at + _ZIP_END_SIZE + comment == len(tail)


def _unsupported(what: str, hint: str = "convert it to PDF and send that") -> Rejected:
    return Rejected("unsupported", f"This is {what}, which is not read; {hint}.")

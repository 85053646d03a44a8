"""The file kinds that are distinguished: their media types, and the file-name suffixes that indicate them."""

from __future__ import annotations

#: kind -> (media type, file-name suffixes that indicate it)
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pdf": ("application/pdf", (".pdf",)),
    "docx": (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        (".docx", ".docm", ".dotx", ".dotm"),
    ),
    "pptx": (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        (".pptx", ".pptm", ".potx", ".potm", ".ppsx", ".ppsm"),
    ),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", (".xlsx", ".xlsm", ".xltx", ".xltm")),
    "xlsb": ("application/vnd.ms-excel.sheet.binary.macroEnabled.12", (".xlsb",)),
    "odt": ("application/vnd.oasis.opendocument.text", (".odt", ".ott", ".fodt")),
    "ods": ("application/vnd.oasis.opendocument.spreadsheet", (".ods", ".ots")),
    "odp": ("application/vnd.oasis.opendocument.presentation", (".odp", ".otp")),
    "epub": ("application/epub+zip", (".epub",)),
    "doc": ("application/msword", (".doc", ".dot")),
    "ppt": ("application/vnd.ms-powerpoint", (".ppt", ".pps", ".pot")),
    "xls": ("application/vnd.ms-excel", (".xls", ".xlt", ".xla")),
    "msg": ("application/vnd.ms-outlook", (".msg",)),
    "rtf": ("application/rtf", (".rtf",)),
    "eml": ("message/rfc822", (".eml", ".mht", ".mhtml")),
    "html": ("text/html", (".html", ".htm", ".xhtml")),
    "md": ("text/markdown", (".md", ".markdown")),
    "csv": ("text/csv", (".csv",)),
    "tsv": ("text/tab-separated-values", (".tsv", ".tab")),
    "json": ("application/json", (".json", ".jsonl", ".ndjson")),
    "xml": ("application/xml", (".xml", ".svg", ".xsd", ".xsl", ".rss", ".atom")),
    "txt": (
        "text/plain",
        (".txt", ".text", ".log", ".rst", ".org", ".asc", ".ini", ".cfg", ".yaml", ".yml", ".toml", ".tex"),
    ),
    "png": ("image/png", (".png",)),
    "jpg": ("image/jpeg", (".jpg", ".jpeg", ".jpe")),
    "gif": ("image/gif", (".gif",)),
    "tiff": ("image/tiff", (".tif", ".tiff")),
    "bmp": ("image/bmp", (".bmp",)),
    "webp": ("image/webp", (".webp",)),
    "zip": ("application/zip", (".zip", ".jar")),
}
SUFFIXES = {suffix: kind for kind, (_, suffixes) in KINDS.items() for suffix in suffixes}
#: kinds without magic bytes: only the name and the text itself distinguish them
TEXTUAL = frozenset({"txt", "md", "csv", "tsv", "json", "html", "xml", "eml"})
IMAGES = frozenset({"png", "jpg", "gif", "tiff", "bmp", "webp"})
ZIPPED = frozenset({"docx", "pptx", "xlsx", "xlsb", "odt", "ods", "odp", "epub"})

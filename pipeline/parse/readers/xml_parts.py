"""Small XML parts of a package: parsed without expanding entities or fetching anything."""

from __future__ import annotations

from typing import Any

from lxml import etree


def parse_part(data: bytes) -> Any:
    """Return the root element. Raises etree.XMLSyntaxError."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    return etree.fromstring(data, parser)


def value(tree: Any, *names: str, attribute: str = "") -> str:
    """Return the text, or an attribute, of the first element on a path of local names; empty if there is none."""
    path = "/" + "".join(f"/*[local-name()='{name}']" for name in names)
    if attribute:
        path += f"/@*[local-name()='{attribute}']"
    return str(tree.xpath(f"string({path})")).strip()

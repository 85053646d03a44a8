"""The installation's key: signs receipts, and makes the keyed hashes that stand for what was erased.

Ed25519, made at first use in the data folder (0600). Whoever has the public key can verify a receipt; nobody without
the private one can find out what a keyed hash stands for.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipeline.disk import link_new, new_file
from pipeline.errors import Misconfigured, Refused

FILE = "installation.key"
ALGORITHM = "Ed25519"


class InstallationKey:
    """The key in ``home``, made there at first use."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE

    @cached_property
    def _secret(self) -> bytes:
        if not self.path.exists():
            self._make()
        try:
            secret = bytes.fromhex(self.path.read_text(encoding="ascii").strip())
            Ed25519PrivateKey.from_private_bytes(secret)
        except (OSError, ValueError) as error:
            detail = f"{self.path} is not a key of this installation ({error}); put the file of a backup back."
            raise Misconfigured("bad-store", detail) from error
        return secret

    def _make(self) -> None:
        """Write a new key, unless another process is quicker."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{FILE}.{os.getpid()}")
        part.unlink(missing_ok=True)
        with new_file(part, 0o600) as file:
            file.write(f"{os.urandom(32).hex()}\n".encode())
        link_new(part, self.path)
        part.unlink(missing_ok=True)

    @property
    def public(self) -> str:
        """The public key, 64 hex digits."""
        return Ed25519PrivateKey.from_private_bytes(self._secret).public_key().public_bytes_raw().hex()

    def pseudonym(self, kind: str, value: str) -> str:
        """Return the keyed hash that stands for a value: 64 hex digits. ``kind``: what the value is."""
        key = hmac.digest(self._secret, b"mailroom pseudonym", hashlib.sha256)
        return hmac.new(key, f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()

    def signed(self, receipt: Mapping[str, Any]) -> dict[str, Any]:
        """Return the receipt with its signature."""
        key = Ed25519PrivateKey.from_private_bytes(self._secret)
        value = key.sign(_canonical(receipt)).hex()
        return {**receipt, "signature": {"algorithm": ALGORITHM, "key": self.public, "value": value}}


def verify_receipt(receipt: Mapping[str, Any], public: str) -> None:
    """Verify a receipt's signature by a public key, in hex. Raises Refused("bad-request") if it is not by this key."""
    try:
        signature = receipt["signature"]
        if signature["algorithm"] != ALGORITHM or signature["key"] != public:
            raise Refused("bad-request", "The receipt was signed by another installation's key.")
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature["value"]), _canonical(receipt))
    except (KeyError, TypeError, ValueError) as error:
        raise Refused("bad-request", "This is not a receipt of an erasure: its signature cannot be read.") from error
    except InvalidSignature as error:
        raise Refused("bad-request", "The receipt was altered after it was signed.") from error


def _canonical(receipt: Mapping[str, Any]) -> bytes:
    content = {name: value for name, value in receipt.items() if name != "signature"}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

"""Nothing leaves the machine: switch off what dependencies send or fetch by default, before they are imported.

`unstructured` (>= 0.26) and Linux `onnxruntime` (>= 1.29) report usage unless a variable forbids it *before the
import*; the hub clients look for newer files. Every entry point calls `go_offline(os.environ)` first.
"""

from __future__ import annotations

from collections.abc import MutableMapping

SWITCHES = {
    "DO_NOT_TRACK": "1",
    "SCARF_NO_ANALYTICS": "1",
    "UNSTRUCTURED_DISABLE_NOTICE": "1",
    "UNSTRUCTURED_USE_LANGDETECT_RS": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def go_offline(environ: MutableMapping[str, str]) -> None:
    """Set every switch in ``environ``; an existing value is overwritten, since "0" would allow sending."""
    environ.update(SWITCHES)

"""Watch the trays: woken up by file system events if they arrive, otherwise by the clock."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from watchfiles import watch

from pipeline.disk import ProcessLock
from pipeline.errors import MailroomError
from workers.queue.process import StopSignal
from workers.services.access import apply_tray_rules
from workers.settings import TraySettings
from workers.tray.completeness import needs_polling
from workers.tray.tray import CLAIMS, Tray

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

log = logging.getLogger(__name__)

#: Seconds within which the event of a test file must arrive; otherwise events are not relied on.
TEST_SECONDS = 2.0
#: Seconds between two scans of a tray without events.
POLL_SECONDS = 1.0


class Watcher:
    """Watches all trays of one installation. A lock in each tray lets only one watcher have it."""

    def __init__(self, trays: Sequence[Tray], catalogue: Catalogue, settings: TraySettings) -> None:
        self._trays, self._catalogue, self._settings = trays, catalogue, settings
        self._changed = threading.Event()
        self._events_arrive = threading.Event()

    def run(self, stopping: StopSignal, ready: Callable[[], None] = lambda: None) -> None:
        """Apply the trays' access rules, call ``ready``, and receive files until a signal to stop arrives.

        Files that are in the trays at the start are received, too. Raises Refused("conflict") if another watcher has a
        tray.
        """
        with ExitStack() as locks:
            for tray in self._trays:
                locks.enter_context(ProcessLock(tray.root / CLAIMS / ".lock", f"A watcher of {tray.root}"))
            apply_tray_rules(self._catalogue, self._settings)
            if any(needs_polling(tray.root) for tray in self._trays):
                log.info("a tray is on a network file system: it is polled every %.0f s", POLL_SECONDS)
            else:
                for target in (self._follow_events, self._test_events):
                    threading.Thread(target=target, args=(stopping,), daemon=True, name="inotify").start()
            ready()
            while not stopping:
                for tray in self._trays:
                    try:
                        tray.recover()
                        tray.scan()
                    except (MailroomError, OSError) as error:
                        log.warning("tray %s: %s", tray.root, error)
                        time.sleep(0.5)
                self._pause(stopping)

    def _pause(self, stopping: StopSignal) -> None:
        until = time.monotonic() + self._pause_seconds()
        while not stopping and time.monotonic() < until and not self._changed.wait(min(0.2, self._pause_seconds())):
            pass
        self._changed.clear()

    def _pause_seconds(self) -> float:
        """Return the seconds until the next scan if no event arrives: few while a file becomes stable."""
        settings = self._settings
        longest = settings.scan_seconds if self._events_arrive.is_set() else min(settings.scan_seconds, POLL_SECONDS)
        if any(tray.has_pending for tray in self._trays):
            return min(longest, max(0.1, settings.stable_seconds / 3))
        return longest

    def _follow_events(self, stopping: StopSignal) -> None:
        probes = {str(tray.root / CLAIMS) for tray in self._trays}
        try:
            roots = [tray.root for tray in self._trays]
            for changes in watch(*roots, watch_filter=None, stop_event=stopping, rust_timeout=1000, debounce=200):
                if any(str(Path(path).parent) in probes for _, path in changes):
                    self._events_arrive.set()
                if any(f"/{CLAIMS}/" not in path for _, path in changes):
                    self._changed.set()
        except Exception as error:  # without inotify the clock is enough
            log.warning("no events for the trays (%s); they are polled", error)
            self._events_arrive.clear()

    def _test_events(self, stopping: StopSignal) -> None:
        """Create files until one of their events arrives; the trays are polled until then."""
        for _ in range(3):
            probe = self._trays[0].root / CLAIMS / f".probe-{uuid.uuid4().hex[:8]}"
            probe.touch()
            self._events_arrive.wait(TEST_SECONDS)
            probe.unlink(missing_ok=True)
            if self._events_arrive.is_set() or stopping:
                return
        log.warning("events do not arrive here; the trays are polled every %.0f s", POLL_SECONDS)

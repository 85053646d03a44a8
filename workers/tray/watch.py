"""Watching the trays: woken by events where the system gives them, else by the clock."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
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

#: A change made here must be told of within this many seconds, else events are not relied on.
TEST_SECONDS = 2.0
#: Seconds between two looks at a tray that has no events.
POLL_SECONDS = 1.0


class Watcher:
    """All trays of one installation. Only one watcher has a tray at a time: a lock in it tells."""

    def __init__(self, trays: Sequence[Tray], catalogue: Catalogue, settings: TraySettings) -> None:
        self._trays, self._catalogue, self._settings = trays, catalogue, settings
        self._stirred = threading.Event()
        self._events_work = threading.Event()

    def run(self, stopping: StopSignal, ready: Callable[[], None] = lambda: None) -> None:
        """Until told to stop. What lies in the trays at the start is taken like what comes later."""
        locks = [ProcessLock(tray.root / CLAIMS / ".lock", f"A watcher of {tray.root}") for tray in self._trays]
        for lock in locks:
            lock.__enter__()
        try:
            apply_tray_rules(self._catalogue, self._settings)
            self._listen(stopping)
            ready()
            while not stopping:
                for tray in self._trays:
                    self._guarded(tray)
                self._rest(stopping)
        finally:
            for lock in locks:
                lock.__exit__(None, None, None)

    def _rest(self, stopping: StopSignal) -> None:
        until = time.monotonic() + self._pause()
        while not stopping and time.monotonic() < until and not self._stirred.wait(min(0.2, self._pause())):
            pass
        self._stirred.clear()

    def _pause(self) -> float:
        """While something settles the folder is looked at often; otherwise an event or the clock wakes us."""
        settings = self._settings
        longest = settings.scan_seconds if self._events_work.is_set() else min(settings.scan_seconds, POLL_SECONDS)
        if any(tray.settling for tray in self._trays):
            return min(longest, max(0.1, settings.stable_seconds / 3))
        return longest

    def _guarded(self, tray: Tray) -> None:
        try:
            tray.recover()
            tray.scan()
        except (MailroomError, OSError) as error:
            log.warning("tray %s: %s", tray.root, error)
            time.sleep(0.5)

    def _listen(self, stopping: StopSignal) -> None:
        if any(needs_polling(tray.root) for tray in self._trays):
            log.info("a tray is on a network file system: it is polled every %.0f s", POLL_SECONDS)
            return
        threading.Thread(target=self._events, args=(stopping,), daemon=True, name="inotify").start()
        threading.Thread(target=self._test, args=(stopping,), daemon=True, name="inotify-test").start()

    def _events(self, stopping: StopSignal) -> None:
        probes = {str(tray.root / CLAIMS) for tray in self._trays}
        try:
            roots = [tray.root for tray in self._trays]
            for changes in watch(*roots, watch_filter=None, stop_event=stopping, rust_timeout=1000, debounce=200):
                if any(str(Path(path).parent) in probes for _, path in changes):
                    self._events_work.set()
                if any(f"/{CLAIMS}/" not in path for _, path in changes):
                    self._stirred.set()
        except Exception as error:  # no inotify here: the clock is enough
            log.warning("no events for the trays (%s); they are polled", error)
            self._events_work.clear()

    def _test(self, stopping: StopSignal) -> None:
        """Files made here must be seen by the events' thread; until they are, the trays are polled."""
        for _ in range(3):
            probe = self._trays[0].root / CLAIMS / f".probe-{uuid.uuid4().hex[:8]}"
            probe.touch()
            self._events_work.wait(TEST_SECONDS)
            probe.unlink(missing_ok=True)
            if self._events_work.is_set() or stopping:
                return
        log.warning("events do not arrive here; the trays are polled every %.0f s", POLL_SECONDS)

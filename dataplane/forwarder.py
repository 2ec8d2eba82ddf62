"""Wraps the C worker in a Python object: settings go in, wake-ups come out.

Use: `forwarder = Forwarder(settings, stats_fd)`, give it a FIB and ports, then call `run` in a
loop. Belongs to a worker process; tests may hold one too. Every method that can fail raises
RibcageError with the errno's text; `run` never does.
"""

import os
from dataclasses import dataclass
from typing import Any

from ribcage.shared._core import ffi, lib

from ribcage.shared.errors import RibcageError
from ribcage.shared.plan import Plan
from ribcage.shared.refusals import refused

SPIN_SECONDS = 100e-6  # above it a wake-up (about 50 us) costs less than the burnt core
NS = 1_000_000_000
FAULTS = {"fib-write": 1, "abort": 2, "segv": 3, "hang": 4}  # and exit0 to exit255
KINDS = {"port": lib.PORT_KIND_NETWORK, "host": lib.PORT_KIND_HOST}


@dataclass(frozen=True, slots=True)
class Wake:
    """Why `run` came back."""

    channel: bool
    signal: bool
    deadline: bool


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What the loop polls and rings; -1 = none. Borrowed, never closed here."""

    bell: int = -1
    channel: int = -1
    signals: int = -1
    queue: int = -1  # SysV queue id, not a descriptor


class Forwarder:
    """Owns the mappings and the ring descriptors it was given."""

    def __init__(
        self, plan: Plan, index: int, seed: int, stats_fd: int, descriptors: Descriptors
    ) -> None:
        config = _configuration(plan)
        config.index = index
        config.seed = seed & 0xFFFFFFFFFFFFFFFF
        config.spin_ns = int(SPIN_SECONDS * NS)
        config.queue = descriptors.queue
        config.bell = descriptors.bell
        config.channel = descriptors.channel
        config.signals = descriptors.signals
        error = ffi.new("int32_t *")
        self._worker = lib.worker_new(config, stats_fd, error)
        if self._worker == ffi.NULL:
            raise refused("worker_new", error[0], index=index)

    def close(self) -> None:
        if self._worker != ffi.NULL:
            lib.worker_free(self._worker)
            self._worker = ffi.NULL

    def reconfigure(self, plan: Plan) -> None:
        """Batch, ICMP rates, hold time and --teach of another plan; the rest is as it was made."""
        lib.worker_configure(self._worker, _configuration(plan))

    def set_fib(self, fd: int, sync: int = -1, semaphore: int = -1) -> None:
        """Maps a FIB from a descriptor opened O_RDONLY, and the lock words of strategies that
        have them, opened O_RDWR; the caller closes both."""
        _check("fib", lib.worker_set_fib(self._worker, fd, sync, semaphore))

    def add_port(self, index: int, fd: int, kind: str, slots: int, slot_bytes: int) -> None:
        """Owns fd from now on, also on error."""
        if kind not in KINDS:
            os.close(fd)
            raise RibcageError("E_PORT", f"port kind {kind!r:.40} is not one of {list(KINDS)}")
        error = lib.worker_add_port(self._worker, index, fd, KINDS[kind], slots, slot_bytes)
        _check(f"port {index}", error)

    def del_port(self, index: int) -> bool:
        return bool(lib.worker_del_port(self._worker, index) == 0)

    def set_channel(self, fd: int) -> None:
        lib.worker_set_channel(self._worker, fd)

    def set_bell(self, fd: int) -> None:
        lib.worker_set_bell(self._worker, fd)

    def set_queue(self, queue: int) -> None:
        lib.worker_set_queue(self._worker, queue)

    def run(self, deadline: float | None = None) -> Wake:
        """Forwards until Python is needed. `deadline` is on time.monotonic()."""
        until = 0 if deadline is None else max(1, int(deadline * NS))
        wake = lib.worker_run(self._worker, until)
        return Wake(
            bool(wake & lib.WORKER_WAKE_CHANNEL),
            bool(wake & lib.WORKER_WAKE_SIGNAL),
            bool(wake & lib.WORKER_WAKE_DEADLINE),
        )

    def quiesce(self, on: bool) -> None:
        lib.worker_quiesce(self._worker, on)

    def drained(self, quiet: float) -> bool:
        """No frame in a ring, none for `quiet` seconds, and no packet held."""
        return bool(lib.worker_drained(self._worker, int(quiet * NS)))

    def stop(self) -> None:
        lib.worker_stop(self._worker)

    @property
    def generation(self) -> int:
        return int(lib.worker_generation(self._worker))

    def report_ready(self) -> None:
        lib.worker_report(self._worker, lib.EVENT_WORKER_READY, lib.URGENCY_STATE, 0)

    def report_fault(self, code: int) -> None:
        """Tells control, before anything of lesser urgency: an errno or an enum worker_fault."""
        lib.worker_report(self._worker, lib.EVENT_WORKER_FAULT, lib.URGENCY_FAULT, code)

    def fault(self, kind: str) -> None:
        """Dies or hangs as asked, for tests and teaching. RibcageError when it cannot."""
        status = kind.removeprefix("exit")
        leaves = status != kind and status.isdigit()
        if not leaves and kind not in FAULTS:
            raise RibcageError("E_FAULT", f"no fault {kind!r:.40}, there are {list(FAULTS)}")
        self.report_fault(lib.WORKER_FAULT_INJECTED)
        if leaves:
            os._exit(int(status) & 0xFF)
        raise _failed(f"fault {kind}", lib.worker_fault(self._worker, FAULTS[kind]))


def _configuration(plan: Plan) -> Any:
    """A struct worker_config with what a plan says; descriptors and seed are the caller's."""
    config = ffi.new("struct worker_config *")
    config.batch = max(1, min(plan.workers.batch, lib.WORKER_BATCH_MAX))
    config.hold_timeout_ns = int(plan.hold.timeout * NS)
    config.hold_packets = plan.hold.packets
    config.hold_per_neighbour = plan.hold.per_neighbour
    config.icmp_rate = plan.icmp.rate
    config.icmp_burst = plan.icmp.burst
    config.icmp_per_source = plan.icmp.per_source
    config.teach = plan.teach
    return config


def _failed(what: str, error: int) -> RibcageError:
    return refused("worker", error, what=what)


def _check(what: str, error: int) -> None:
    if error < 0:
        raise _failed(what, error)

"""Another FIB in place of one that cannot be trusted, while control lives and workers forward.

    rebuild = Rebuild(names, params, fib, forwarding, reconcile, publisher, reader)
    writer = rebuild.run(semaphore)           # the caller then tells the supervisor

The fresh segment is made beside the old one, filled from what control knows and the RIB, checked,
published, and only then takes the name; the old one is kept aside under names.damaged(). Workers
answer from the old one until the supervisor hands them the new. A failure at any step (no room in
shared memory) leaves the old one in force, and nothing behind.

Everything is written anew and nothing mended: where one word was overwritten, those that say which
memory is free cannot be trusted either. 0.6 us a route. Control only, outside any batch.
"""

import time

from ribcage.controlplane.fib.forwarding import Forwarding
from ribcage.controlplane.fib.publisher import Publisher
from ribcage.controlplane.fib.reconcile import Reconcile
from ribcage.controlplane.fib.segment.attach import make_fib, take_name
from ribcage.controlplane.fib.segment.create import FibParams
from ribcage.controlplane.fib.segment.tables import FibTables
from ribcage.controlplane.fib.segment.writer import FibWriter
from ribcage.shared.errors import RibcageError
from ribcage.shared.memory.fib import FibReader
from ribcage.shared.memory.segment import (
    blank,
    cut_short,
    leads_to,
    remove_segment,
    set_aside,
)
from ribcage.shared.process.names import Names


class Rebuild:
    """See the module's text."""

    def __init__(
        self,
        names: Names,
        params: FibParams,
        fib: FibTables,
        forwarding: Forwarding,
        reconcile: Reconcile,
        publisher: Publisher,
        reader: FibReader,
    ) -> None:
        self.names, self.params = names, params
        self.fib, self.forwarding, self.reader = fib, forwarding, reader
        self.reconcile, self.publisher = reconcile, publisher

    def run(self, semaphore: int, *, sound: bool, sync: int = -1) -> FibWriter:
        """See the module's text. `sound`: the old one can still be written, so that what waits is
        in it if this fails. E_SHM_FULL, E_OWNER, E_FIB_CORRUPT (the new one is wrong)."""
        old, names = self.fib.writer, self.names
        if sound:
            self.publisher.flush()
        else:
            self._do_not_touch(old)
        generation = self.publisher.generation
        number = old.instance_id_at_open
        made = make_fib(names, old.guard, self.params, number, semaphore, sync, "rebuilt")
        try:
            self._fill(made)
            if leads_to(names.fib, old.mapped) is not None:
                set_aside(names.fib, names.damaged(names.fib))
            take_name(names, made)
            self.reader.move_to(made.mapped.fd, made.locks)
        except BaseException:
            self.fib.use(old)
            self.publisher.generation = generation
            made.close()
            remove_segment(names.fresh(names.fib))
            remove_segment(names.fresh(names.sync))
            raise
        old.close()
        return made

    def _do_not_touch(self, old: FibWriter) -> None:
        """What was cut short is SIGBUS to whoever looks: zeros stand there from now on."""
        if cut_short(old.mapped):
            blank(old.mapped)
            blank(self.reader.mapped)
        locks = old.locks
        if locks is not None and locks.mapped is not None and cut_short(locks.mapped):
            blank(locks.mapped)

    def _fill(self, made: FibWriter) -> None:
        t0 = time.monotonic_ns()
        self.fib.use(made)
        with self.fib.guard():
            self.forwarding.write_all()
        self.reconcile.compare(t0)
        self.publisher.touch_all(t0)
        self.publisher.flush()
        if not made.check() or self.publisher.behind:
            raise RibcageError("E_FIB_CORRUPT", "the FIB that was built does not hold together")

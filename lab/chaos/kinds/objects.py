"""Shared objects: segments, semaphore, queue, and the file systems they lie in."""

import contextlib
import os
import time

import posix_ipc
import sysv_ipc

from ribcage.lab.chaos.kinds.kind import Kind, Scene, Skipped
from ribcage.lab.topology.namespaces import LabError
from ribcage.shared.errors import RibcageError

REBUILT_MS = 1500  # a table that is lost is made anew from the RIB
AUDIT_MS = 2000  # one flipped word: until the audit comes by
PATIENCE = 10.0  # seconds; as long as any fault has to heal
PAGE = 4096
MESSAGE = 64


def _segment(scene: Scene, which: str) -> str:
    names = scene.rig.names
    name = {"fib": names.fib, "rib": names.rib, "sync": names.sync}[which]
    path = scene.rig.shm(name)
    if not path.exists():
        raise Skipped(f"there is no {name} now")
    return str(path)


def _rounds(scene: Scene) -> int:
    """Whole rounds of the audit so far, and rebuilds, which begin it anew; -1: nobody says."""
    try:
        health = scene.rig.call("fib.show")["healing"]
    except (RibcageError, KeyError):
        return -1
    return int(health["rounds"] + health["fib_rebuilt"] + health["rib_rebuilt"])


def _audited(scene: Scene, before: int) -> None:
    """Until a round that began after the flip is over. One bit nobody has found yet, and the other
    table lost meanwhile, are more than there is to make anything anew from."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        now = _rounds(scene)
        if before < 0 <= now:
            before = now
        elif 0 <= now < before:  # another control, which begins to count; it looked at its takeover
            before = now - 1
        elif before >= 0 and now >= before + 2:
            return
        time.sleep(0.05)  # between two looks
    scene.fault.unhealed.append("the audit did not come by")


class Damage:
    """One way to spoil one segment; an object, so that the table below reads well."""

    def __init__(self, which: str, how: str) -> None:
        self.which, self.how = which, how

    def __call__(self, scene: Scene) -> None:
        path = _segment(scene, self.which)
        scene.begins(self.which)
        if self.how == "unlink":
            os.unlink(path)  # noqa: PTH108 -- a path of the lab's mount namespace, as text
            return
        size = os.stat(path).st_size  # noqa: PTH116
        if self.how == "truncate":
            os.truncate(path, size // 2 // PAGE * PAGE)
            return
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if self.how == "head":
                os.pwrite(descriptor, scene.random.randbytes(MESSAGE), 0)
            else:
                rounds = _rounds(scene)
                self._flip(scene, descriptor, size)
                _audited(scene, rounds)
        finally:
            os.close(descriptor)

    def _flip(self, scene: Scene, descriptor: int, size: int) -> None:
        """One bit of one word that is in use: of a hole, which is only zeros, nobody would know."""
        for _ in range(1000):
            at = scene.random.randrange(PAGE // 4, size // 4) * 4
            word = os.pread(descriptor, 4, at)
            if any(word):
                flipped = int.from_bytes(word, "little") ^ 1 << scene.random.randrange(32)
                os.pwrite(descriptor, flipped.to_bytes(4, "little"), at)
                scene.fault.target += f" at {at:#x}"
                return
        scene.fault.target += ": no word in use was found"


def _take(name: str, seconds: float, give_back: bool) -> bool:
    """Inside the lab."""
    semaphore = posix_ipc.Semaphore(name)
    try:
        semaphore.acquire(1.0)
    except posix_ipc.BusyError:
        return False
    if give_back:
        time.sleep(seconds)
        semaphore.release()
    semaphore.close()
    return True


def _post(name: str) -> None:
    semaphore = posix_ipc.Semaphore(name)
    semaphore.release()
    semaphore.close()


def _held(scene: Scene) -> None:
    name, seconds = scene.rig.names.writer_semaphore, scene.random.uniform(0.1, 0.5)
    scene.begins("writer semaphore")
    if not scene.rig.r1.call(_take, name, seconds, True):
        scene.fault.unhealed.append("the semaphore was not to be had within a second")


def _lost(scene: Scene) -> None:
    scene.begins("writer semaphore")
    if not scene.rig.r1.call(_take, scene.rig.names.writer_semaphore, 0.0, False):
        scene.fault.unhealed.append("the semaphore was not to be had within a second")


def _posted(scene: Scene) -> None:
    scene.begins("writer semaphore")
    scene.rig.r1.call(_post, scene.rig.names.writer_semaphore)


def _queue_key(scene: Scene) -> int:
    try:
        queue = scene.rig.call("ipc.show").get("queue")
    except RibcageError as error:
        raise Skipped(f"ipc.show: {error.message}") from error
    if not queue:
        raise Skipped("control has no queue now")
    return int(queue["key"], 16)


def _queues(scene: Scene) -> str:
    """How many there are in the lab."""
    rows = scene.rig.r1.run(["cat", "/proc/sysvipc/msg"], check=True).stdout.splitlines()
    return f"{len(rows) - 1} queues"


def _queue_remove(key: int) -> None:
    with contextlib.suppress(sysv_ipc.ExistentialError):
        sysv_ipc.MessageQueue(key).remove()


def _queue_write(key: int, messages: list[tuple[int, bytes]]) -> int:
    """Inside the lab: how many went in."""
    written = 0
    with contextlib.suppress(sysv_ipc.Error):
        queue = sysv_ipc.MessageQueue(key)
        for kind, body in messages:
            queue.send(body, block=False, type=kind)
            written += 1
    return written


def _removed(scene: Scene) -> None:
    key = _queue_key(scene)
    scene.watch("event queue", lambda: _queues(scene), lambda: None)
    scene.begins(f"queue {key:#x}")
    scene.rig.r1.call(_queue_remove, key)


def _full(scene: Scene) -> None:
    key = _queue_key(scene)
    body = scene.random.randbytes(MESSAGE)
    scene.begins(f"queue {key:#x}")
    scene.rig.r1.call(_queue_write, key, [(5, body)] * 5000)


def _garbage(scene: Scene) -> None:
    key = _queue_key(scene)
    draw = scene.random
    kinds = [*range(1, 12), 1000, (1 << 31) - 1]
    messages = [(draw.choice(kinds), draw.randbytes(draw.randint(0, 200))) for _ in range(60)]
    scene.begins(f"queue {key:#x}")
    scene.rig.r1.call(_queue_write, key, messages)


def _shm_full(scene: Scene) -> None:
    """No block is left in /dev/shm for a while: a hole that is written to there is a SIGBUS."""
    for spare in (4, 64, 1024, 1024):  # somebody may write meanwhile: less than is used is refused
        out = scene.rig.r1.run(["df", "-k", "--output=used", "/dev/shm"], check=True).stdout
        size = f"remount,size={int(out.split()[-1]) + spare}k"
        scene.begins("/dev/shm")
        if scene.rig.r1.run(["mount", "-o", size, "/dev/shm"]).returncode == 0:
            break
    else:
        raise Skipped("/dev/shm cannot be made small here")
    scene.hold(0.2, 0.8)
    scene.rig.shm_room()


def _run_full(scene: Scene) -> None:
    filler = scene.rig.names.run_base / "filler"
    scene.begins("run directory")
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(PAGE))
    scene.hold(0.2, 0.8)
    filler.unlink(missing_ok=True)


def _run_file(scene: Scene) -> None:
    """Not in the folders below: those have trust levels and owners of their own."""
    found = sorted(path for path in scene.rig.names.run_dir.rglob("*") if not path.is_dir())
    found = [path for path in found if path.suffix != ".log"]
    if not found:
        raise Skipped("no file in the run directory")
    path = scene.random.choice(found)
    scene.begins(path.name)
    with contextlib.suppress(OSError, LabError):
        path.unlink()


ANEW = "made anew in a fresh segment, from what is whole"
KINDS = [
    Kind("fib-unlink", "the FIB's name is removed", "nobody notices; the next control makes a new one", Damage("fib", "unlink")),
    Kind("rib-unlink", "the RIB's name is removed", "no acknowledged route is forgotten", Damage("rib", "unlink")),
    Kind("sync-unlink", "the lock words' name is removed", "nobody notices", Damage("sync", "unlink")),
    Kind("fib-truncate", "the FIB is cut to half", ANEW, Damage("fib", "truncate"), REBUILT_MS),
    Kind("rib-truncate", "the RIB is cut to half", ANEW, Damage("rib", "truncate")),
    Kind("fib-head", "the FIB's identity line is overwritten", ANEW, Damage("fib", "head"), REBUILT_MS),
    Kind("rib-head", "the RIB's identity line is overwritten", ANEW, Damage("rib", "head")),
    Kind("fib-flip", "one bit of the FIB is flipped", "the audit finds and repairs it", Damage("fib", "flip"), AUDIT_MS, "", AUDIT_MS),
    Kind("rib-flip", "one bit of the RIB is flipped", "the audit finds it", Damage("rib", "flip"), AUDIT_MS, "", AUDIT_MS),
    Kind("semaphore-held", "somebody else holds the writer's semaphore for a while", "changes wait 50 ms, then it is taken back", _held),
    Kind("semaphore-lost", "somebody else takes the writer's semaphore and never gives it back", "control finds the holder gone, and goes on", _lost),
    Kind("semaphore-posted", "the writer's semaphore is posted once too often", "the ownership lock decides", _posted),
    Kind("queue-remove", "ipcrm of the event queue", "a new one is made", _removed),
    Kind("queue-full", "the event queue is filled with garbage", "it is emptied and counted", _full),
    Kind("queue-garbage", "messages of every type and length", "counted and thrown away", _garbage),
    Kind("shm-full", "/dev/shm is full for a while", "changes are refused, nothing dies", _shm_full),
    Kind("run-full", "the run directory is full for a while", "nobody notices", _run_full),
    Kind("run-file", "a file of the run directory is removed", "it is made anew, or not needed", _run_file),
]  # fmt: skip

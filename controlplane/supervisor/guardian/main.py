"""The guardian: a small process that starts the supervisor again when it has ended.

    python -I -S main.py --socket FD --path PATH [--store NAME=FD ...] [--watch PID=PIDFD [--ready]]
                         [--json-log] -- ARGV...

ARGV is the supervisor. It is killed and replaced when it says nothing for WATCHDOG seconds, and
replaced when it dies, at once, then with a growing pause, for ever. Final are exit 0 (a stop), any
exit before the first READY=1 (a start that cannot work), 8 (another supervisor has the router).

Protocol: what `_obey` names of sd_notify(3), on socket FD, bound to PATH; only the supervisor is
heard (the kernel says who sent it). What FDSTORE=1 gave the next one gets, by sd_listen_fds(3).

It holds the stored descriptors and nothing else, imports only what is built into Python, opens only
its socket by name, and may be killed at any time: the supervisor makes another one (`--watch`).
SIGTERM, SIGINT: the supervisor is asked to stop; SIGHUP is handed on.
"""

import _socket
import fcntl
import os
import resource
import select
import signal
import struct
import sys
import time
from contextlib import suppress

WATCHDOG = 5.0  # seconds of silence after which a supervisor counts as hung
FIRST_WORD = 30.0  # the same before its first word: it has to load and to look around
SLEPT = 1.0  # woken that much too late, we were stopped ourselves: the supervisor gets a new chance
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
STABLE = 10.0  # seconds of life after which the pause begins anew
RUNNING = 8  # shared/errors.py: another supervisor has this router
MESSAGE = 4096
MAX_STORED = 4096  # descriptors; systemd's FileDescriptorStoreMax
CREDENTIALS = struct.Struct("iII")  # pid, uid, gid
# Blocked while the next supervisor loads: it answers them when it can.
HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Guardian:
    """One supervisor after the other. `fds` are those of the store, by name."""

    def __init__(self, sock: int, path: str, argv: list[str], json_log: bool) -> None:
        self.sock = _socket.socket(fileno=sock)
        self.sock.setblocking(False)
        self.path = path
        self.argv = argv
        self.json_log = json_log
        self.fds: dict[str, int] = {}
        self.pid = 0
        self.pidfd = -1
        self.ready = False  # once it was, no exit but an orderly one is final
        self.stopping = False  # an orderly stop was asked for or has begun
        self.said: int | None = None  # EXIT_STATUS= of a supervisor that is not our child
        self.restarts = 0
        self.pause = 0.0
        self.born = 0.0
        self.deadline = 0.0
        self.spoke = False
        self.signals: list[int] = []
        self.waker, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, frame: self.signals.append(number))
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self.start_ticks = _start_time(os.getpid())

    # ---- the supervisor's births and deaths ----

    def watch(self, pid: int, pidfd: int) -> None:
        """Watches a process that made us. Should it be dead by now, its pidfd says so, and what it
        said before it died is heard first: an orderly stop is final."""
        os.set_inheritable(pidfd, False)
        self._born(pid, pidfd)

    def _born(self, pid: int, pidfd: int) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.pid, self.pidfd, self.said, self.spoke = pid, pidfd, None, False
        self.born = time.monotonic()
        self.deadline = self.born + FIRST_WORD

    def start(self) -> None:
        """The next supervisor. A fork that fails is a death like any other."""
        self._bind_again()
        try:
            pid = os.fork()
            if pid == 0:
                self._become()
            self._born(pid, os.pidfd_open(pid))
            self.log("info", "supervisor.start", supervisor=pid, restarts=self.restarts)
        except OSError as error:
            self.log("error", "supervisor.fork", error=error.strerror)
            self._later()

    def _become(self) -> None:
        """In the child: descriptors from 3 on, environment, exec. Never returns."""
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
            signal.set_wakeup_fd(-1)
            for number in (*HELD, signal.SIGCHLD, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            names = [name for name in self.fds if name != "log"]
            first = 3 + len(names)  # none of the copies is where another one has to go
            copies = [fcntl.fcntl(self.fds[name], fcntl.F_DUPFD_CLOEXEC, first) for name in names]
            for place, fd in enumerate(copies, 3):
                os.dup2(fd, place, inheritable=True)
            environment = {
                **os.environ,
                "NOTIFY_SOCKET": self.path,
                "WATCHDOG_USEC": str(int(WATCHDOG * 1e6)),
                "WATCHDOG_PID": str(os.getpid()),
                "LISTEN_PID": str(os.getpid()),
                "LISTEN_FDS": str(len(names)),
                "LISTEN_FDNAMES": ":".join(names),
                "RIBCAGE_GUARDIAN": f"{os.getppid()} {self.start_ticks}",
                "RIBCAGE_RESTARTS": str(self.restarts),
            }
            os.execve(self.argv[0], self.argv + ["--stop"] * self.stopping, environment)
        finally:
            os._exit(127)

    def _bind_again(self) -> None:
        """Somebody removed the socket or its folder: the next supervisor would not find us."""
        if os.path.exists(self.path):
            return
        try:
            os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
            sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
            sock.setblocking(False)
            sock.bind(self.path)  # umask 077: ours alone
            self.sock = sock
        except OSError as error:
            self.log("error", "guardian.socket", path=self.path, error=error.strerror)

    def _later(self) -> None:
        """Nobody runs: the next one after the pause."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.pid, self.pidfd = 0, -1
        self.deadline = time.monotonic() + self.pause
        self.pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self.pause))
        self.restarts += 1

    def _ended(self) -> int | None:
        """What became of it: our own exit status, or None, and another one comes."""
        status = self.said  # of one that is not our child: what it said itself
        with suppress(ChildProcessError):
            found, raw = os.waitpid(self.pid, os.WNOHANG)
            if not found:
                return None
            status = os.waitstatus_to_exitcode(raw)
        final = status is not None and status >= 0 and (status in (0, RUNNING) or not self.ready)
        self.log("info" if final else "warning", "supervisor.ended", supervisor=self.pid,
                 status="unknown" if status is None else status)  # fmt: skip
        if final:
            return status
        if time.monotonic() - self.born >= STABLE:
            self.pause = 0.0
        self._later()
        return None

    # ---- what it says ----

    def listen(self) -> None:
        """Every notice that is there."""
        while True:
            try:
                raw, extra, flags, _ = self.sock.recvmsg(
                    MESSAGE,
                    _socket.CMSG_SPACE(CREDENTIALS.size) + _socket.CMSG_SPACE(64 * 4),
                    _socket.MSG_CMSG_CLOEXEC,
                )
            except OSError:
                return
            fds: list[int] = []
            sender = (0, -1, -1)
            for level, kind, data in extra:
                if level != _socket.SOL_SOCKET:
                    continue
                if kind == _socket.SCM_RIGHTS:
                    fds += [fd for (fd,) in struct.iter_unpack("i", data[: len(data) & ~3])]
                elif kind == _socket.SCM_CREDENTIALS and len(data) == CREDENTIALS.size:
                    sender = CREDENTIALS.unpack(data)
            cut = flags & (_socket.MSG_TRUNC | _socket.MSG_CTRUNC)
            try:
                if sender[:2] != (self.pid, os.geteuid()) or not self.pid:
                    self.log("warning", "notice.refused", sender=sender[0], uid=sender[1])
                elif cut:
                    self.log("error", "notice.cut", flags=cut)
                else:
                    self._obey(raw, fds)
            finally:
                for fd in fds:
                    os.close(fd)

    def _obey(self, raw: bytes, fds: list[int]) -> None:
        """One notice; takes descriptors it keeps out of `fds`."""
        pairs = [line.partition("=") for line in raw.decode("ascii", "replace").splitlines()]
        said = {name: value for name, _, value in pairs}
        name = said.get("FDNAME", "stored")
        if said.get("READY") == "1":
            self.ready = True
        if said.get("STOPPING") == "1":
            self.stopping = True
        if "WATCHDOG" in said:
            self.spoke = True
            self.deadline = time.monotonic() + WATCHDOG
        if said.get("FDSTORE") == "1" and fds and _is_name(name):
            if name in self.fds or len(self.fds) < MAX_STORED:
                self.keep(name, fds.pop())
            else:
                self.log("error", "store.full", kept=len(self.fds))
        elif said.get("FDSTOREREMOVE") == "1" and name in self.fds:
            os.close(self.fds.pop(name))
        if said.get("EXIT_STATUS", "").isdigit():
            self.said = int(said["EXIT_STATUS"]) & 0xFF
        if (number := said.get("MAINPID", "")).isdigit() and int(number) != self.pid:
            with suppress(OSError, OverflowError):
                self._born(int(number), os.pidfd_open(int(number)))

    def keep(self, name: str, fd: int) -> None:
        """Into the store, in place of what had this name."""
        if name in self.fds:
            os.close(self.fds.pop(name))
        self.fds[name] = fd
        if name == "log":  # opened anew: our lines and the next supervisor's go there
            os.dup2(fd, 2, inheritable=True)

    # ---- life ----

    def run(self) -> int:
        """The exit status."""
        while True:
            poller = select.poll()
            for fd in (self.sock.fileno(), self.waker, self.pidfd):
                if fd >= 0:
                    poller.register(fd, select.POLLIN)
            left = self.deadline - time.monotonic()
            ready = {fd for fd, _ in poller.poll(max(0.0, left) * 1000 + 1)}
            self.listen()  # first: what it said before it died counts
            if self.waker in ready:
                self._signalled()
            if self.pidfd in ready:
                status = self._ended()
                if status is not None:
                    return status
            elif time.monotonic() >= self.deadline:
                self._overdue(time.monotonic() - self.deadline)

    def _overdue(self, late: float) -> None:
        if self.pid == 0:
            self.start()
        elif late > SLEPT:
            self.deadline = time.monotonic() + WATCHDOG
        else:
            self.log("error", "supervisor.hung", supervisor=self.pid, spoke=self.spoke)
            self._send(signal.SIGKILL)
            self.deadline = time.monotonic() + WATCHDOG

    def _signalled(self) -> None:
        with suppress(BlockingIOError):
            os.read(self.waker, 4096)
        asked, self.signals = self.signals, []
        for number in asked:
            if number in (signal.SIGTERM, signal.SIGINT):
                self.stopping = True
                self._send(signal.SIGTERM)
                if self.pid == 0:
                    self.deadline = 0.0
            elif number == signal.SIGHUP:
                self._send(signal.SIGHUP)

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError):  # dead: the next look at its pidfd says so
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, number)

    def log(self, level: str, event: str, **facts: object) -> None:
        """As shared/process/log.py writes it. Never raises, never blocks for long: standard error
        is a file."""
        now = time.time()
        if self.json_log:
            fields = {"level": level, "role": "guardian", "event": event, **facts}
            pairs = [f'"{k}":{v}' if type(v) is int else f'"{k}":"{v}"' for k, v in fields.items()]
            line = f'{{"ts":{now:.6f},"pid":{os.getpid()},{",".join(pairs)}}}'
        else:
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
            line = f"{moment}.{int(now % 1 * 1000):03d}Z {level} guardian[{os.getpid()}] {event}"
            line += "".join(f" {key}={value}".replace("\n", " ") for key, value in facts.items())
        with suppress(OSError):
            os.write(2, line.encode("ascii", "replace") + b"\n")


def _is_name(name: str) -> bool:
    return 0 < len(name) < 256 and name.isascii() and name.isprintable() and ":" not in name


def _start_time(pid: int) -> str:
    """Ticks since boot: with the pid an identity."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        raw = file.read()
    return raw[raw.rfind(b")") + 2 :].split()[19].decode()


def main(words: list[str]) -> int:
    """See the module's text."""
    options: dict[str, list[str]] = {}
    while words and (word := words.pop(0)) != "--":
        options.setdefault(word, []).append("" if word in FLAGS else words.pop(0))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    sock, path = int(options["--socket"][0]), options["--path"][0]
    guardian = Guardian(sock, path, words, "--json-log" in options)
    with suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write("ribcage-guard")
    for pair in options.get("--store", []):
        name, _, number = pair.partition("=")
        os.set_inheritable(int(number), False)
        guardian.keep(name, int(number))
    guardian.ready = "--ready" in options
    if watched := options.get("--watch"):
        pid, _, number = watched[0].partition("=")
        guardian.watch(int(pid), int(number))
    else:
        guardian.start()
    status = guardian.run()
    with suppress(OSError):  # gone with its folder, or somebody else uses that
        os.unlink(guardian.path)
    for folder in ("..", "../.."):  # the run directory, if we were its last
        with suppress(OSError):
            os.rmdir(os.path.normpath(os.path.join(guardian.path, folder)))
    return status


FLAGS = ("--ready", "--json-log")

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The pure parts: back-off, exit words, state file, lock, loop, plan settings."""

import errno
import json
import os
import resource
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ribcage.shared._core import lib

from ribcage.controlplane.supervisor.children import exits
from ribcage.controlplane.supervisor.children.backoff import (
    FIRST_DELAY,
    MAX_DELAY,
    STABLE,
    Backoff,
    ForkRetry,
)
from ribcage.controlplane.supervisor.context import Settings
from ribcage.controlplane.supervisor.loop import Loop
from ribcage.controlplane.supervisor.resources.descriptors import (
    descriptors_needed,
    raise_descriptor_limit,
)
from ribcage.controlplane.supervisor.start.lock import SupervisorLock
from ribcage.controlplane.supervisor.statefile import ChildRecord, State
from ribcage.shared.errors import Exit, RibcageError
from ribcage.shared.plan import Plan, PlanError, RoutePlan
from ribcage.shared.process.names import Names
from ribcage.shared.process.port_rings import PortRings


def test_the_first_restart_is_at_once_and_the_next_ones_wait_longer() -> None:
    """0, 10, 20, 40 ms ... MAX_DELAY while it never becomes stable."""
    backoff = Backoff(limit=100, window=1e9)
    delays = [backoff.died(float(i), 0.0) for i in range(12)]
    assert delays[:4] == [0.0, FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY]
    assert delays[-1] == MAX_DELAY


def test_a_stable_life_resets_the_delay() -> None:
    """Killed once a second while healthy: no wait, however often, and more often than `limit`."""
    backoff = Backoff(limit=5, window=60.0)
    assert [backoff.died(float(i), 2.0) for i in range(100)] == [0.0] * 100


@given(
    st.integers(0, 10),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), max_size=60),
)
def test_quick_restarts_are_bounded_and_no_slot_is_given_up(
    limit: int, deaths: list[tuple[float, float]]
) -> None:
    """Property: every death has a next try, and in every window of 10 s at most `limit` of those
    that came before a stable life was had wait less than MAX_DELAY."""
    backoff, now, quick = Backoff(limit, 10.0), 0.0, []
    for gap, ready_for in deaths:
        now += gap
        delay = backoff.died(now, ready_for)
        assert 0.0 <= delay <= MAX_DELAY
        if delay < MAX_DELAY and ready_for < STABLE:
            quick.append(now)
    for end in quick:
        assert len([t for t in quick if end - 10.0 < t <= end]) <= limit


def test_a_child_that_always_dies_is_tried_every_few_seconds_for_ever() -> None:
    """Quick ones first, as many as are allowed; a thousand deaths later still one try each 5 s."""
    backoff, now, delays = Backoff(5, 60.0), 0.0, []
    for _ in range(1000):
        delays.append(backoff.died(now, 0.0))
        now += delays[-1]
    assert delays[:6] == [0.0, 0.01, 0.02, 0.04, 0.08, MAX_DELAY]
    assert set(delays[20:]) == {MAX_DELAY}


def test_fork_retries_slow_down_and_recover() -> None:
    """0.1, 0.2, 0.4 ... bounded; a success begins anew."""
    retry = ForkRetry()
    assert [retry.failed() for _ in range(3)] == [0.1, 0.2, 0.4]
    assert [retry.failed() for _ in range(20)][-1] == MAX_DELAY
    retry.succeeded()
    assert retry.failed() == 0.1


@pytest.mark.parametrize(
    ("status", "text", "core"),
    [
        (42 << 8, "exited 42", False),
        (0, "exited 0", False),
        (9, "killed by signal 9 (SIGKILL)", False),
        (11 | 0x80, "killed by signal 11 (SIGSEGV), core dumped", True),
        (40, "killed by signal 40", False),
    ],
)
def test_a_wait_status_in_words(status: int, text: str, core: bool) -> None:
    """Every form has its words; a core is named."""
    end = exits.decode(status)
    assert (end.text, end.core) == (text, core)


def test_a_real_core_dump_is_named(tmp_path: Path) -> None:
    """A child allowed to dump core, and aborting: decoded from the kernel's own status."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if hard == 0 or pattern.startswith("|") or "/" in pattern:
        pytest.skip("cores are not written into the working directory here")
    pid = os.fork()
    if pid == 0:
        os.chdir(tmp_path)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        os.abort()
    end = exits.decode(os.waitpid(pid, 0)[1])
    assert end.text == "killed by signal 6 (SIGABRT), core dumped"


def test_the_reaper_survives_interruption_and_finds_all() -> None:
    """waitpid is asked until nobody is left, whatever signal comes between."""
    answers: list[tuple[int, int] | BaseException] = [
        (5, 0), InterruptedError(), (6, 9), (0, 0), (7, 0),
    ]  # fmt: skip

    def waitpid(pid: int, options: int) -> tuple[int, int]:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    assert [pid for pid, _ in exits.reap(waitpid)] == [5, 6]


def with_hard_limit(hard: int, privileged: bool) -> str:
    """What raise_descriptor_limit(2, 1024) comes to in a process with this hard limit."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 200), hard))
        if not privileged:
            lib.sys_drop_capabilities(0)
        try:
            raise_descriptor_limit(2, 1024)
            said = str(resource.getrlimit(resource.RLIMIT_NOFILE))
        except RibcageError as error:
            said = f"{error.code} {int(error.exit_code)} {error.message} / {error.hint}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as pipe:
        return pipe.read()


def test_the_descriptor_limit_counts_management_clients() -> None:
    """The soft limit is raised to what workers and clients may need together."""
    needed = descriptors_needed(2, 1024)
    assert needed == descriptors_needed(2, 0) + 1024
    assert with_hard_limit(8192, privileged=False) == str((needed, 8192))


def test_a_hard_limit_that_is_too_low_is_an_error_with_both_numbers() -> None:
    """Nothing is started that would run out of descriptors under load; the error says the fix."""
    needed = descriptors_needed(2, 1024)
    said = with_hard_limit(400, privileged=False)
    assert said.startswith(f"E_NOFILE {int(Exit.PRIVILEGE)} "), said
    assert f"{needed} open files" in said and "hard limit is 400" in said
    assert f"ulimit -Hn {needed}" in said and "max_clients" in said


CAPABILITIES = next(
    int(line.split()[1], 16)
    for line in Path("/proc/self/status").read_text().splitlines()
    if line.startswith("CapEff")
)


@pytest.mark.skipif(not CAPABILITIES >> 24 & 1, reason="needs CAP_SYS_RESOURCE")
def test_root_raises_the_hard_limit_too() -> None:
    needed = descriptors_needed(2, 1024)
    assert with_hard_limit(400, privileged=True) == str((needed, needed))


def test_the_state_file_round_trips(tmp_path: Path) -> None:
    """What is written is what a successor reads; mode 0600."""
    state = State("r1", 77, 12, 5, 6, 7, "/ribcage.r1.writer", 9, 10,
                  ["/ribcage.r1.fib"], {3: 4711},
                  [ChildRecord("worker", 1, 20, 30, 0, 2)])  # fmt: skip
    path = tmp_path / "state.json"
    state.write(path)
    assert State.read(path, "r1") == state
    assert State.read(path, "r2") is None
    assert path.stat().st_mode & 0o777 == 0o600


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda x: st.lists(x, max_size=4) | st.dictionaries(
        st.sampled_from(["schema", "instance", "shm", "children", "semaphore"]), x, max_size=5),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_a_broken_state_file_is_no_state(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    """Cut short, of another program, of another schema: nothing is known, nothing raises."""
    path = tmp_path_factory.getbasetemp() / "broken.json"
    path.write_bytes(raw)
    assert State.read(path, "r1") is None


def test_a_state_file_cannot_name_what_is_not_ours(tmp_path: Path) -> None:
    """Objects are removed by these names: other instances and paths are refused."""
    path = tmp_path / "state.json"
    for name in ("/ribcage.r2.fib", "/ribcage.r1.x/../../../etc/passwd", "/etc/passwd"):
        State("r1", 1, 1, shm=[name]).write(path)
        assert State.read(path, "r1") is None


def test_the_lock_excludes_and_dies_with_its_holder(tmp_path: Path) -> None:
    """A second take is refused with the pid; after release or death it succeeds."""
    names = Names("r1", tmp_path)
    names.make_run_dir()
    lock = SupervisorLock.take(names)
    with pytest.raises(RibcageError, match=f"already running, pid {os.getpid()}") as info:
        SupervisorLock.take(names)
    assert (info.value.code, info.value.exit_code) == ("E_RUNNING", 8)
    lock.release()
    assert not names.supervisor_lock.exists()
    pid = os.fork()
    if pid == 0:
        SupervisorLock.take(names)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    SupervisorLock.take(names).release()


def test_a_callback_never_meets_a_reused_descriptor() -> None:
    """Closed and reopened under the same number within one turn: the old event is dropped."""
    loop = Loop()
    first, second = os.pipe(), os.pipe()
    calls: list[str] = []
    for fd in (first[1], second[1]):
        os.write(fd, b"x")

    def swap(me: int, other: int) -> None:
        calls.append("event")
        loop.unwatch(me)
        loop.unwatch(other)
        os.close(other)
        quiet = os.pipe()
        assert quiet[0] == other  # the lowest free number
        loop.watch(other, lambda: calls.append("wrong"))

    loop.watch(first[0], lambda: swap(first[0], second[0]))
    loop.watch(second[0], lambda: swap(second[0], first[0]))
    loop.turn()
    assert calls == ["event"]
    loop.close()


def test_timers_run_in_order_and_cancelled_ones_do_not() -> None:
    """A heap of deadlines; the loop sleeps until the next."""
    loop = Loop()
    seen: list[int] = []
    loop.after(0.02, lambda: seen.append(2))
    loop.after(0.01, lambda: seen.append(1))
    loop.after(0.015, lambda: seen.append(9)).cancel()
    loop.after(0.03, loop.stop)
    start = time.monotonic()
    loop.run()
    assert seen == [1, 2]
    assert time.monotonic() - start >= 0.03
    loop.close()


def test_the_supervisor_keeps_no_routes() -> None:
    """Routes stay text for control; a worker's plan has none."""
    plan = Plan("r1", routes=(RoutePlan("10.0.0.0/8", "blackhole"),))
    settings = Settings.parse(plan.dumps())
    assert settings.plan.routes == ()
    assert settings.for_worker()["routes"] == []
    assert Plan.from_json(settings.for_control()) == plan
    for text in ("", "[]", '{"name":1}', "[" * 100000):
        with pytest.raises(PlanError):
            Settings.parse(text)


@given(st.dictionaries(
    st.sampled_from(["index", "name", "ifindex", "kind", "slots", "slot_bytes"]),
    st.integers() | st.text(max_size=20) | st.none() | st.booleans() | st.floats(),
))  # fmt: skip
def test_a_port_from_a_peer_is_a_port_or_an_error(body: dict[str, object]) -> None:
    """RibcageError and nothing else."""
    try:
        port = PortRings.from_json(body)
    except RibcageError:
        return
    assert PortRings.from_json(port.to_json()) == port


def test_a_lock_is_held_though_there_is_no_room_for_the_number_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full run directory: the number in the file is for messages alone, the lock decides."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    names = Names("lock", tmp_path)
    names.make_run_dir()
    monkeypatch.setattr(os, "pwrite", full)
    lock = SupervisorLock.take(names)
    with pytest.raises(RibcageError) as refused:
        SupervisorLock.take(names)
    assert refused.value.code == "E_RUNNING"
    lock.release()
    SupervisorLock.take(names).release()

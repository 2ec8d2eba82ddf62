"""A worker's first moments: waiting for `attach`, whatever numbers its descriptors have."""

import contextlib
import fcntl
import os
import resource
import signal
from collections.abc import Iterator

import pytest

from ribcage.dataplane.worker import run_worker
from ribcage.shared.process.channel import Channel, pair

HIGH = 1500  # select() ends at 1,023


@pytest.fixture
def high_limit() -> Iterator[None]:
    """Descriptors above HIGH may exist."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= HIGH:
        pytest.skip(f"the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HIGH + 16), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def ends_with(channel: Channel, ours: Channel) -> int:
    """Exit status of a forked worker that waits on a copy of `channel` numbered above HIGH."""
    high = fcntl.fcntl(channel.fileno(), fcntl.F_DUPFD_CLOEXEC, HIGH)
    pid = os.fork()
    if pid == 0:
        ours.close()
        status = 70
        with contextlib.suppress(BaseException):
            run_worker(high)
            status = 0
        os._exit(status)
    os.close(high)
    channel.close()
    try:
        ours.send({"type": "stop"})
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        ours.close()


@pytest.mark.usefixtures("high_limit")
def test_a_worker_hears_a_channel_numbered_above_1023() -> None:
    """Many rings are open in the supervisor, so that a new channel has a high number: the worker
    hears what it says and leaves in order."""
    theirs, ours = pair()
    assert ends_with(theirs, ours) == 0

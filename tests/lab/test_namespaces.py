"""The lab library: what it builds works at once, and nothing of it outlives its creator."""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ribcage.lab.demo.steps import leftovers
from ribcage.lab.topology import topologies
from ribcage.lab.topology.namespaces import PATH, Lab, LabError, Node, available
from ribcage.lab.topology.router import Router

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not available()[0], reason=available()[1]),
]


def inode(pid: int) -> int:
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


def echo(family: socket.AddressFamily, address: str) -> bytes:
    """One UDP datagram to ourselves through `address`."""
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.bind((address, 0))
        one.settimeout(2)
        one.sendto(b"hello", one.getsockname()[:2])
        return one.recv(16)


@pytest.mark.parametrize("user", [None, True])
def test_demo_topology_is_up_within_a_second(user: bool | None) -> None:
    """Four nodes with addresses of both families are usable at once (measured: 0.13 s)."""
    if not (ok := available(user))[0]:
        pytest.skip(ok[1])
    start = time.monotonic()
    with Lab(user) as lab:
        topologies.demo(lab, addresses=True)
        took = time.monotonic() - start
        h1 = lab.nodes["h1"]
        assert h1.call(echo, socket.AF_INET, "10.0.1.2") == b"hello"
        assert h1.call(echo, socket.AF_INET6, "2001:db8:1::2") == b"hello"
    assert took < 5  # a second on a quiet machine; generous on a busy one


def test_kernel_forwarding_crosses_the_demo_topology() -> None:
    """h1 reaches n2 through r1 and h2 once r1 is told to forward: the wiring is right."""
    with Lab() as lab:
        topologies.demo(lab, addresses=True)
        lab.nodes["r1"].sysctl(1, "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
        lab.nodes["r1"].ip(
            "route add 10.0.3.0/24 via 10.0.2.2", "route add 2001:db8:3::/64 via 2001:db8:2::2"
        )
        listen = (
            "import socket; s = socket.create_server(('::', 7), family=socket.AF_INET6,"
            "dualstack_ipv6=True); print('listening', flush=True);"
            "[s.accept()[0].sendall(b'here') for _ in range(2)]"
        )
        server = lab.nodes["n2"].popen([sys.executable, "-c", listen], stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"

        def hear(address: str) -> bytes:
            with socket.create_connection((address, 7), timeout=5) as stream:
                return stream.recv(16)

        assert lab.nodes["h1"].call(hear, "10.0.3.2") == b"here"
        assert lab.nodes["h1"].call(hear, "2001:db8:3::2") == b"here"
        server.stdout.close()
    server.wait(timeout=5)


def test_processes_in_a_node_end_with_the_lab() -> None:
    """Also those that left their session and whose parent is gone."""
    with Lab() as lab:
        node = lab.node("a")
        script = "import os, time; os.setsid(); print(1, flush=True); time.sleep(600)"
        child = node.popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        child.stdout.close()
    assert child.wait(timeout=5) == -signal.SIGKILL


def three_die_with_their_creator(script: str) -> None:
    """Runs `script`, which prints three pids and waits; they end after kill -9 of it."""
    creator = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert creator.stdout is not None
    watched = [os.pidfd_open(int(word)) for word in creator.stdout.readline().split()]
    assert len(watched) == 3
    creator.kill()
    creator.wait()
    creator.stdout.close()
    deadline = time.monotonic() + 5
    for descriptor in watched:
        # A pidfd becomes readable when its process has ended.
        assert select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0]
        os.close(descriptor)


def test_a_killed_creator_leaves_nothing() -> None:
    """kill -9 of the creating process: holders and members go without it."""
    script = (
        "import sys, time\n"
        "from ribcage.lab.topology.namespaces import Lab\n"
        "lab = Lab(); node = lab.node('a')\n"
        "import subprocess\n"
        "child = node.popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdin.write(b'x\\n'); child.stdin.flush(); child.stdout.readline()\n"
        "print(lab._base.pid, node.pid, child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    three_die_with_their_creator(script)


@pytest.mark.parametrize("user", [None, True])
def test_a_call_dies_with_its_caller(user: bool | None) -> None:
    """kill -9 of a process that waits in `call`: the forked child ends too, and the lab."""
    if not (ok := available(user))[0]:
        pytest.skip(ok[1])
    script = (
        "import os, time\n"
        "from ribcage.lab.topology.namespaces import Lab\n"
        f"lab = Lab({user}); node = lab.node('a')\n"
        "def wait():\n"
        "    print(lab._base.pid, node.pid, os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
        "node.call(wait)\n"
    )
    three_die_with_their_creator(script)


def test_the_holder_keeps_every_nodes_namespace() -> None:
    """Its descriptors outlast the node's own process, so no other lab gets the inode number."""
    with Lab() as lab:
        nodes = [lab.node("a"), lab.node("b")]
        wanted = {inode(node.pid) for node in nodes}
        files = Path(f"/proc/{lab._base.pid}/fd").iterdir()
        assert wanted <= {file.stat().st_ino for file in files}


def sleeper(node: Node) -> subprocess.Popen[str]:
    """A process that surely is in the node: until nsenter has entered it is in none."""
    process = node.popen(["sh", "-c", "echo in; exec sleep 600"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    process.stdout.close()
    return process


@pytest.mark.parametrize("whose", ["nobody", "another"])
def test_a_node_whose_process_is_gone_keeps_no_other_alive(whose: str) -> None:
    """A creator killed amid `node`: the pid is gone, or by now of a process elsewhere, and the
    other nodes' processes end all the same; the one elsewhere is left alone."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    with Lab() as other:  # elsewhere: another lab, so that a wrong holder harms nobody else
        outside = sleeper(other.node("b"))
        with Lab() as lab:
            child = sleeper(lab.node("a"))
            stdin, stdout = lab._base.stdin, lab._base.stdout
            assert stdin is not None
            assert stdout is not None
            pid = gone.pid if whose == "nobody" else other.nodes["b"].pid
            stdin.write(f"net {pid} 1\n".encode())
            stdin.flush()
            assert stdout.readline() == b"held\n"
        assert child.wait(timeout=5) == -signal.SIGKILL
        assert outside.poll() is None
    outside.wait(timeout=5)


def test_dev_shm_is_the_labs_own() -> None:
    """A segment made in a lab is invisible outside."""
    with Lab() as lab:
        lab.node("a").run(["touch", "/dev/shm/ribcage.lab.test"], check=True)
        assert lab.node("b").run(["ls", "/dev/shm"]).stdout == "ribcage.lab.test\n"
        assert not Path("/dev/shm/ribcage.lab.test").exists()


def test_call_returns_results_and_raises_the_functions_exception() -> None:
    """`call` runs in the node's network namespace and hands exceptions through."""

    def fail() -> None:
        raise ValueError("from inside")

    with Lab() as lab:
        node = lab.node("a")
        assert node.call(lambda: inode(os.getpid())) == inode(node.pid) != inode(os.getpid())
        with pytest.raises(ValueError, match="from inside"):
            node.call(fail)


def test_a_failed_command_says_what_it_said() -> None:
    """`check` turns a failure into a LabError with node, command and the command's own words."""
    with Lab() as lab, pytest.raises(LabError, match=r"a: ip -batch -: exit 1: .*nothere"):
        lab.node("a").ip("link set nothere up")


def test_a_link_is_ready_when_it_is_made() -> None:
    """At once both ends are up and have their link-local address: nothing about them is still to
    change. An MTU too small for IPv6 is no hindrance."""
    with Lab() as lab:
        nodes = [lab.node("a"), lab.node("b")]
        for number in range(10):
            lab.link("a", f"eth{number}", "b", f"eth{number}")
            for node in nodes:
                text = node.run(["ip", "address", "show", f"eth{number}"], check=True).stdout
                assert "LOWER_UP" in text and "state UP" in text, text
                assert "inet6 fe80::" in text and "tentative" not in text, text
        lab.link("a", "small", "b", "small", "mtu", "576")
        assert "state UP" in nodes[1].run(["ip", "link", "show", "small"], check=True).stdout


def test_leftovers_tell_settings_and_refuse_to_tell_nothing(tmp_path: Path) -> None:
    """A setting that was changed differs, without a `sysctl` command; a command that is missing is
    an error, not an empty answer."""
    with Lab() as lab:
        node = lab.node("a")
        router = Router(node, "", "rt", tmp_path, tmp_path / "run")
        before = leftovers(router)
        node.sysctl(1, "net/ipv4/ip_forward")
        changed = set(leftovers(router).splitlines()) - set(before.splitlines())
        assert "/proc/sys/net/ipv4/ip_forward = 1" in changed
        (tmp_path / "bin").mkdir()
        for name in ("nsenter", "env", "ip", "tc", "ls"):
            (tmp_path / "bin" / name).symlink_to(str(shutil.which(name, path=PATH)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ribcage.lab.topology.namespaces.PATH", str(tmp_path / "bin"))
            with pytest.raises(LabError, match="nft"):
                leftovers(router)

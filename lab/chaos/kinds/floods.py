"""Hosts and clients that do what they should not: floods of frames, and of management requests."""

import contextlib
import errno
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable

from ribcage.lab.chaos import plan
from ribcage.lab.chaos.kinds.kind import Kind, Scene, Skipped

FRAMES = 3000  # of a flood; a few ms of a worker, and of a source's CPU
ETH_P_ALL = 3
MANY = 1000
GARBAGE = (b"\0" * 4096, b"{" * 60_000, b'{"jsonrpc":"2.0","id":1,"method":"route.list"', b"GET / HTTP/1.1\r\n\r\n",
           b'{"jsonrpc":"2.0","id":{},"method":[],"params":7}\n', b"\xff\xfe\n" * 1000, b"[]\n" * 5000)  # fmt: skip


def _send_udp(targets: list[str], hops: int, size: int) -> int:
    """Inside a source: how many the kernel took."""
    taken = 0
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
    ):
        four.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        for target in targets:
            with contextlib.suppress(OSError):
                (six if ":" in target else four).sendto(bytes(size), (target, 7))
                taken += 1
    return taken


def _send_raw(frames: list[bytes]) -> int:
    """Inside a source: frames as they are, behind the right destination address."""
    taken = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as sock:
        sock.bind(("eth0", 0))
        for frame in frames:
            with contextlib.suppress(OSError):
                sock.send(frame)
                taken += 1
    return taken


def _flood(choose: Callable[[Scene, int], list[str]], hops: int) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        source = scene.random.randint(1, plan.SOURCES)
        targets = choose(scene, FRAMES)
        scene.begins(f"{len(targets)} packets from s{source}")
        scene.rig.lab.nodes[f"s{source}"].call(_send_udp, targets, hops, 30)

    return play


def _silent(scene: Scene, count: int) -> list[str]:
    """Addresses on the sinks' networks that nobody has."""
    draw, sinks = scene.random, plan.SINKS
    return [
        f"2001:db8:2:{draw.randint(1, sinks)}::{draw.randrange(16, 65535):x}"
        if n % 2
        else f"10.2.{draw.randint(1, sinks)}.{draw.randint(10, 250)}"
        for n in range(count)
    ]


def _targets(scene: Scene, count: int) -> list[str]:
    return [scene.random.choice(plan.flows()).target for _ in range(count)]


def _malformed(scene: Scene) -> None:
    """Headers whose lengths, versions and checksums are wrong, cut anywhere; and plain noise."""
    source = scene.random.randint(1, plan.SOURCES)
    port = plan.source_port(source)
    out = scene.rig.r1.run(["ip", "-j", "link", "show", port], check=True).stdout
    head = bytes.fromhex(json.loads(out)[0]["address"].replace(":", "")) + b"\x02chaos"
    draw = scene.random
    frames = []
    for n in range(FRAMES):
        kind = draw.choice((0x0800, 0x86DD, 0x8100, 0x0806, draw.randrange(65536)))
        body = bytearray(draw.randbytes(draw.randint(0, 120)))
        if body and n % 2:  # half of them look like what they say, at first
            body[0] = {0x0800: 0x40 | draw.randrange(16), 0x86DD: 0x60}.get(kind, body[0])
        frames.append(head + struct.pack("!H", kind) + bytes(body))
    scene.begins(f"{FRAMES} frames from s{source}")
    scene.rig.lab.nodes[f"s{source}"].call(_send_raw, frames)


def _connected(scene: Scene, count: int) -> list[socket.socket]:
    """Up to so many clients; the listener's backlog and our own limit of descriptors end it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MANY + 100 <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (MANY + 100, hard))
    clients: list[socket.socket] = []
    for _ in range(count):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        try:
            client.connect(str(scene.rig.names.control_socket))
        except OSError as error:
            client.close()
            if error.errno == errno.EAGAIN:
                time.sleep(0.001)  # the backlog is full: the router has to take some first
                continue
            break
        clients.append(client)
    if not clients:
        raise Skipped("the management socket takes nobody now")
    return clients


def _many(scene: Scene) -> None:
    scene.begins(f"{MANY} connections")
    clients = _connected(scene, MANY)
    scene.hold(0.1, 0.3)
    for client in clients:
        client.close()


def _slow(scene: Scene) -> None:
    """Each asks for whole tables and reads nothing."""
    request = b'{"jsonrpc":"2.0","id":1,"method":"route.list","params":{}}\n'
    scene.begins("20 clients")
    clients = _connected(scene, 20)
    for client in clients:
        with contextlib.suppress(OSError):
            for _ in range(50):
                client.send(request)
    scene.hold(0.3, 0.8)
    for client in clients:
        client.close()


def _noise(scene: Scene) -> None:
    draw = scene.random
    scene.begins("40 clients")
    clients = _connected(scene, 40)
    for client in clients:
        for _ in range(draw.randint(1, 5)):
            with contextlib.suppress(OSError):
                client.send(draw.choice(GARBAGE) if draw.random() < 0.7 else draw.randbytes(5000))
    scene.hold(0.05, 0.2)
    for client in clients:
        client.close()


def _supervisor_noise(scene: Scene) -> None:
    """Strangers on the supervisor's socket; a datagram there is one message."""
    draw = scene.random
    scene.begins("20 strangers")
    strangers = []
    for _ in range(20):
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stranger.setblocking(False)
        try:
            stranger.connect(str(scene.rig.names.supervisor_socket))
            for _ in range(5):
                stranger.send(draw.choice(GARBAGE))
        except OSError:
            pass
        strangers.append(stranger)
    scene.hold(0.05, 0.2)
    for stranger in strangers:
        stranger.close()


def _reload(scene: Scene, victim: str | None) -> None:
    """The same file with one route more or less; some process dies on the way."""
    path = scene.rig.out / "reload.toml"
    text = plan.config(scene.rig.workers)
    if scene.random.random() < 0.5:
        text += f'\n[[route]]\ndst = "203.0.113.0/24"\nvia = "{plan.via(1, 4)}"\n'
    path.write_text(text)
    command = [
        sys.executable,
        "-IP",
        "-m",
        "ribcage",
        "-i",
        plan.INSTANCE,
        "reload",
        "-c",
        str(path),
    ]
    scene.begins(victim or "no process")
    asked = subprocess.Popen(
        command,
        env={**os.environ, "RIBCAGE_RUN_DIR": str(scene.rig.names.run_base)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if victim is not None:
        scene.hold(0.2, 0.9)  # the command needs that long to read the file
        for actor in scene.rig.cast.found()[victim][:1]:
            actor.send(9)
    try:
        asked.wait(10)
    except subprocess.TimeoutExpired:
        asked.kill()
        asked.wait()
        scene.fault.unhealed.append("ribcage reload did not end within 10 s")


KINDS = [
    Kind("flood-miss", "packets to neighbours that nobody has", "they wait and are dropped; others are not", _flood(_silent, 64)),
    Kind("flood-ttl", "packets whose TTL ends here", "answers are limited; others are not", _flood(_targets, 1)),
    Kind("flood-malformed", "frames of every wrong shape", "dropped and counted", _malformed),
    Kind("clients-many", f"{MANY} management clients at once", "some are refused; changes go on", _many),
    Kind("clients-slow", "clients that ask and do not read", "each waits for itself", _slow),
    Kind("clients-garbage", "clients that send noise", "refused; changes go on", _noise),
    Kind("strangers", "noise on the supervisor's socket", "refused unread", _supervisor_noise),
    Kind("reload", "the file is read again", "nobody notices", lambda scene: _reload(scene, None)),
    Kind("reload-control-kill", "control dies during a reload", "the reload is done by the next", lambda scene: _reload(scene, "control")),
    Kind("reload-supervisor-kill", "the supervisor dies during a reload", "done whole or not at all", lambda scene: _reload(scene, "supervisor")),
    Kind("reload-worker-kill", "a worker dies during a reload", "its successor has the new plan", lambda scene: _reload(scene, "worker"), 50),
]  # fmt: skip

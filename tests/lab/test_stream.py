"""The paced stream on its own, over loopback: it neither bursts nor leaves too early."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from ribcage.lab.probe.stream import MAGIC, PACKET


def start(*words: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "ribcage.lab.probe.stream", *words]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str], text: str = "") -> dict[str, Any]:
    result: dict[str, Any] = json.loads(process.communicate(text, timeout=20)[0])
    return result


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def packet(number: int) -> bytes:
    return PACKET.pack(MAGIC, number, 0)


def test_a_sender_that_stood_still_does_not_make_up_for_it() -> None:
    """Stopped for half a second in the middle: what it did not send then, it never sends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        began = time.monotonic()
        sender = start("send", "127.0.0.1", "--port", str(sink.getsockname()[1]), "--rate", "500")
        sink.settimeout(5)
        take(sink, 50)
        os.kill(sender.pid, signal.SIGSTOP)
        sink.settimeout(0.5)  # also how long it stands still
        stopped = time.monotonic()
        with pytest.raises(TimeoutError):
            take(sink, 1000)
        stood = time.monotonic() - stopped
        os.kill(sender.pid, signal.SIGCONT)
        sink.settimeout(5)
        take(sink, 50)
        result = end(sender)
        ran = time.monotonic() - began
    assert result["late_ms"] >= 450
    assert result["sent"] <= (ran - stood) * 500 + 30, (result, ran, stood)


def take(sink: socket.socket, packets: int) -> None:
    for _ in range(packets):
        sink.recv(2048)


def test_a_receiver_waits_for_as_many_as_were_sent() -> None:
    """The third of three packets comes half a second after its sender said that it had sent it:
    it counts. So does a second copy right behind it; then the receiver is done."""
    port = free_port()
    receiver = start("receive", "--bind", "127.0.0.1", "--port", str(port), "--linger", "20")
    assert receiver.stdin is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        for number in (1, 2):
            sock.send(packet(number))
        receiver.stdin.write("3\n")
        receiver.stdin.close()
        receiver.stdin = None
        time.sleep(0.5)  # the late packet is what is tested
        began = time.monotonic()
        for number in (3, 3):
            sock.send(packet(number))
        result = end(receiver)
    assert (result["received"], result["duplicates"], result["missing"]) == (3, 1, 0)
    assert time.monotonic() - began < 10


def test_a_receiver_gives_up_on_what_never_comes() -> None:
    """One of two packets is lost: it says so after --linger."""
    port = free_port()
    receiver = start("receive", "--bind", "127.0.0.1", "--port", str(port), "--linger", "0.4")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(packet(1), ("127.0.0.1", port))
    result = end(receiver, "2\n")
    assert (result["received"], result["overflows"]) == (1, 0)

"""Processes that die, hang or are stopped, alone and together."""

import signal
import time
from collections.abc import Callable

from ribcage.lab.chaos.cast import Actor
from ribcage.lab.chaos.kinds.kind import Kind, Scene, Skipped
from ribcage.shared.errors import RibcageError

# Seconds after which a stopped process that nobody replaced goes on again: a worker is missed after
# half a second, control and standby after three, a supervisor after five.
STOPPED = {"worker": 1.5, "control": 6.0, "standby": 6.0, "supervisor": 9.0, "guardian": 9.0}
STANDBY = 3.0  # seconds: a new one is made a second after a takeover
KILLED_MS = 50  # a worker that is killed: its ring keeps most of it
HUNG_MS = 700  # a worker that does not move has to be noticed first


def chosen(scene: Scene, roles: tuple[str, ...]) -> list[Actor]:
    """One process for each role, a role named twice two of it; absent ones are left out."""
    found = scene.rig.cast.found()
    deadline = time.monotonic() + STANDBY
    while roles[0] == "standby" and not found["standby"] and time.monotonic() < deadline:
        time.sleep(0.05)  # between two looks
        found = scene.rig.cast.found()
    victims = []
    for role in roles:
        left = [actor for actor in found[role] if actor not in victims]
        if left:
            victims.append(scene.random.choice(left))
    if not victims:
        raise Skipped(f"no {' or '.join(dict.fromkeys(roles))} is there")
    return victims


def _signalled(number: int, *roles: str) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        victims = chosen(scene, roles)
        if "control" in roles and not _standby_ready(scene):
            scene.fault.measure = "cold"
        scene.begins(", ".join(actor.name for actor in victims))
        for actor in victims:
            actor.send(number)

    return play


def _standby_ready(scene: Scene) -> bool:
    """A standby comes a second after a takeover, and needs its imports: until then there is none
    to take over."""
    return any(p["role"] == "standby" and p["state"] == "ready" for p in scene.rig.processes())


def _start_if_nobody_does(scene: Scene, killed: list[Actor]) -> None:
    """What an init system, or a person, does: without guardian and supervisor nobody else can."""
    deadline = time.monotonic() + 2
    while any(actor.alive() for actor in killed) and time.monotonic() < deadline:
        time.sleep(0.002)  # SIGKILL is sent, not yet obeyed
    found = scene.rig.cast.found()
    if not found["guardian"] and not found["supervisor"]:
        scene.rig.launch()


def _parents_killed(scene: Scene) -> None:
    victims = chosen(scene, ("guardian", "supervisor"))
    scene.begins(", ".join(actor.name for actor in victims))
    for actor in victims:
        actor.send(signal.SIGKILL)
    _start_if_nobody_does(scene, victims)


def _stopped(*roles: str) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        victims = chosen(scene, roles)
        scene.begins(", ".join(actor.name for actor in victims))
        for actor in victims:
            actor.send(signal.SIGSTOP)
        deadline = time.monotonic() + max(STOPPED[actor.role] for actor in victims)
        while any(actor.alive() for actor in victims) and time.monotonic() < deadline:
            time.sleep(0.01)  # between two looks
        for actor in victims:
            if actor.send(signal.SIGCONT):
                scene.fault.unhealed.append(f"{actor.name} was stopped, and nobody replaced it")

    return play


def _all_but_one(scene: Scene) -> None:
    """Guardian and supervisor included; which one is spared is drawn. Not the standby: it holds
    nothing, and ends when nobody is left."""
    everybody = scene.rig.cast.everybody()
    may_live = [actor for actor in everybody if actor.role != "standby"]
    if len(everybody) < 2 or not may_live:
        raise Skipped("fewer than two processes")
    spared = scene.random.choice(may_live)
    scene.begins(f"all but {spared.name}")
    killed = [actor for actor in everybody if actor != spared]
    for actor in killed:
        actor.send(signal.SIGKILL)
    _start_if_nobody_does(scene, killed)


def _asked(kind: str) -> Callable[[Scene], None]:
    """By `fault.inject`: the worker does it to itself."""

    def play(scene: Scene) -> None:
        (victim,) = chosen(scene, ("worker",))
        scene.begins(victim.name)
        try:
            scene.rig.call("fault.inject", worker=victim.index, kind=kind)
        except RibcageError as error:
            raise Skipped(f"fault.inject: {error.message}") from error
        deadline = time.monotonic() + STOPPED[victim.role]
        while victim.alive() and time.monotonic() < deadline:
            time.sleep(0.005)  # between two looks
        if victim.send(signal.SIGKILL):
            scene.fault.unhealed.append(f"{victim.name} hung, and nobody replaced it")

    return play


K, S = signal.SIGKILL, signal.SIGSEGV
REPLACED = "a successor takes the slot, its ring and its counters"
TAKEN = "forwarding goes on; the standby takes over, no acknowledged route is forgotten"
ADOPTED = "forwarding goes on; the next supervisor adopts everybody"
KINDS = [
    Kind("worker-kill", "SIGKILL to a worker", REPLACED, _signalled(K, "worker"), KILLED_MS, "restart"),
    Kind("worker-segv", "SIGSEGV to a worker", REPLACED, _signalled(S, "worker"), KILLED_MS, "restart"),
    Kind("worker-abort", "SIGABRT to a worker", REPLACED, _signalled(signal.SIGABRT, "worker"), KILLED_MS, "restart"),
    Kind("worker-write", "a worker writes to the FIB", "SIGSEGV for it alone; the FIB is unchanged", _asked("fib-write"), KILLED_MS, "restart"),
    Kind("worker-exit", "a worker ends with a status", REPLACED, _asked("exit42"), KILLED_MS, "restart"),
    Kind("worker-hang", "a worker loops for ever", "noticed by its heartbeat, killed, replaced", _asked("hang"), HUNG_MS, "hang"),
    Kind("worker-stop", "SIGSTOP to a worker", "noticed by its heartbeat, killed, replaced", _stopped("worker"), HUNG_MS, "hang"),
    Kind("workers-kill", "SIGKILL to two workers", REPLACED, _signalled(K, "worker", "worker"), KILLED_MS, "restart"),
    Kind("control-kill", "SIGKILL to control", TAKEN, _signalled(K, "control"), 0, "takeover"),
    Kind("control-segv", "SIGSEGV to control", TAKEN, _signalled(S, "control"), 0, "takeover"),
    Kind("control-abort", "SIGABRT to control", TAKEN, _signalled(signal.SIGABRT, "control"), 0, "takeover"),
    Kind("control-stop", "SIGSTOP to control", "asked in vain, killed, the standby takes over", _stopped("control"), 0, "silent", seldom=True),
    Kind("standby-kill", "SIGKILL to the standby", "nobody notices; a new one is made", _signalled(K, "standby")),
    Kind("standby-stop", "SIGSTOP to the standby", "nobody notices; a new one is made", _stopped("standby"), seldom=True),
    Kind("controls-kill", "SIGKILL to control and standby", "forwarding goes on; a new control starts", _signalled(K, "control", "standby"), 0, "cold"),
    Kind("supervisor-kill", "SIGKILL to the supervisor", ADOPTED, _signalled(K, "supervisor"), 0, "adopt"),
    Kind("supervisor-stop", "SIGSTOP to the supervisor", "forwarding and changes go on; it is replaced", _stopped("supervisor"), seldom=True),
    Kind("supervisor-segv", "SIGSEGV to the supervisor", ADOPTED, _signalled(S, "supervisor"), 0, "adopt"),
    Kind("guardian-kill", "SIGKILL to the guardian", "nobody notices; the supervisor goes on", _signalled(K, "guardian")),
    Kind("control-worker-kill", "SIGKILL to control and a worker", TAKEN, _signalled(K, "control", "worker"), KILLED_MS),
    Kind("supervisor-control-kill", "SIGKILL to supervisor and control", ADOPTED, _signalled(K, "supervisor", "control"), 0),
    Kind("supervisor-worker-kill", "SIGKILL to supervisor and a worker", "its flows wait for the next supervisor", _signalled(K, "supervisor", "worker"), 1000),
    Kind("guardian-supervisor-kill", "SIGKILL to guardian and supervisor", "all go on; the next `ribcage run` adopts them", _parents_killed),
    Kind("all-but-one-kill", "SIGKILL to all processes but one", "what is left makes the rest anew, or `ribcage run` does", _all_but_one, 3000),
]  # fmt: skip

"""A router in a lab that looks after itself: `ribcage run --daemon`, with a guardian.

    router = GuardedRouter(lab.nodes["r1"], config, "demo", folder, run_base)
    router.start();  os.kill(router.pid("supervisor"), 9);  router.wait_ready()

As Router otherwise. Its processes are nobody's children here: `stop` and `kill_all` know them by
pid and start time.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from dataclasses import dataclass

from ribcage.controlplane.supervisor.children import processes
from ribcage.controlplane.supervisor.statefile import State
from ribcage.lab.topology.router import Router, wait_for
from ribcage.shared.process.python import python


@dataclass(slots=True)
class GuardedRouter(Router):
    """See the module's text."""

    def start(self, seconds: float = 20.0) -> None:
        """Returns when the router says that it is ready."""
        path = self.folder / f"{self.instance}.toml"
        path.write_text(self.config)
        self.let_pass()
        self.environment = {**os.environ, "RIBCAGE_RUN_DIR": str(self.run_base)}
        command = python("ribcage", "-i", self.instance, "run", "-c", str(path))
        command += ["--daemon", "--log-file", str(self.log)]
        with self.log.open("ab") as log:
            launcher = self.node.popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )
        if launcher.wait(seconds) != 0:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the router did not start ({launcher.returncode}):\n{tail}")
        self.wait_ready(seconds)

    def state(self) -> State | None:
        """What the supervisor has written down."""
        return State.read(self.names.state_file, self.instance)

    def living(self) -> list[int]:
        """Pids of all processes of the router: guardian, supervisor, children."""
        state = self.state()
        if state is None:
            return []
        known = [(child.pid, child.start) for child in state.children]
        known += [(state.guardian[0], state.guardian[1])] if state.guardian else []
        found = [pid for pid, start in known if processes.is_alive(pid, start)]
        owner = processes.start_time(state.supervisor)
        return [*found, *([state.supervisor] if owner else [])]

    def kill_all(self) -> None:
        """SIGKILL to all of them, the guardian first; again until nobody is left."""

        def nobody() -> bool:
            living = self.living()
            for pid in sorted(living, key=lambda pid: pid != self._guardian()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not living

        wait_for("all processes of the router killed", nobody)

    def _guardian(self) -> int:
        state = self.state()
        return state.guardian[0] if state is not None and state.guardian else 0

    def stop(self, seconds: float = 10.0) -> int:
        """Orderly, by SIGTERM to the supervisor; 0 when it and its guardian have ended in time."""
        state = self.state()
        if state is None:
            return 0
        poller = select.poll()
        waited = {}
        for pid in (state.supervisor, self._guardian()):
            if pid:
                fd = os.pidfd_open(pid)
                waited[fd] = pid
                poller.register(fd, select.POLLIN)
        os.kill(state.supervisor, signal.SIGTERM)
        try:
            while waited:
                ended = poller.poll(seconds * 1000)
                if not ended:
                    return 1
                for fd, _ in ended:
                    poller.unregister(fd)
                    os.close(fd)
                    del waited[fd]
        finally:
            for fd in waited:
                os.close(fd)
        return 0

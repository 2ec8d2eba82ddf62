"""Who restarts the supervisor: systemd, or under `--daemon` a small parent process, the guardian.

Both speak one protocol, systemd's (sd_notify(3), sd_listen_fds(3)): the supervisor says READY=1,
WATCHDOG=1 every second, STOPPING=1, and gives copies of its descriptors to keep (FDSTORE=1), which
the next supervisor finds as LISTEN_FDS. `main.py` is the guardian's program, alone in its file and
without a library, so that it stays small. `manager.py` is the supervisor's end, whoever listens;
`ward.py` watches the guardian and makes a new one; `spawn.py` starts one.
Begin with main.py.
"""

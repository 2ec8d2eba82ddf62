"""Exit statuses: each of the table, by the way a user meets it; with -j always a document."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ribcage.cli.options import split, wants_json
from ribcage.controlplane.supervisor.start import early
from ribcage.shared.errors import Exit
from ribcage.shared.process.names import Names

GOOD = '[[interface]]\nname = "eth1"\naddress = "10.0.1.1/24"\n'
BAD = '[fib]\nsync = "epcoh"\n'


def refusal(router: Any, *arguments: Any) -> Callable[[Any], Any]:
    def handler(params: Any) -> Any:
        raise router.refuse(*arguments)

    return handler


def test_0_done(router: Any, ribcage: Any) -> None:
    """An answer."""
    assert ribcage("route", "show").status == Exit.OK == 0


def test_1_the_answer_is_no(router: Any, ribcage: Any) -> None:
    """What the router says no to keeps its code, hint and status."""
    router.answers["route.del"] = refusal(
        router,
        "E_NOT_FOUND",
        "no route 203.0.113.0/24 via 10.0.2.77",
        1,
        "there is one via 10.0.2.9",
    )
    words = ["route", "del", "203.0.113.0/24", "via", "10.0.2.77"]
    ran = ribcage(*words)
    assert ran.status == Exit.NO == 1
    assert ran.err == (
        "error[E_NOT_FOUND]: no route 203.0.113.0/24 via 10.0.2.77\n  there is one via 10.0.2.9\n"
    )
    assert ribcage("-j", *words).document == {
        "schema": 1,
        "error": {
            "code": "E_NOT_FOUND",
            "message": "no route 203.0.113.0/24 via 10.0.2.77",
            "hint": "there is one via 10.0.2.9",
        },
    }


def test_2_usage(ribcage: Any) -> None:
    """A line that cannot be read (test_commands.py has them all)."""
    assert ribcage("rout").status == Exit.USAGE == 2


def test_3_config(ribcage: Any, tmp_path: Path) -> None:
    """All problems on stderr, nothing on stdout; the same as data with -j."""
    path = tmp_path / "r.toml"
    path.write_text(BAD)
    for command in (["config", "check"], ["config", "compile", "--plan"], ["run", "-c"]):
        ran = ribcage(*command, path)
        assert (ran.status, ran.out) == (Exit.CONFIG, "")
        lines = ran.err.splitlines()
        assert lines[0].startswith(f"{path}:2:8: error[E103]: ")
        assert lines[-1] == f"{path}: 1 error, 0 warnings; nothing was applied"
        error = ribcage("-j", *command, path).document["error"]
        assert (error["code"], error["errors"], error["warnings"]) == ("E_CONFIG", 1, 0)
        assert error["problems"][0]["line"] == 2
        assert error["problems"][0]["hint"] == 'did you mean "epoch"?'


def test_4_no_daemon(ribcage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers: the hint names the routers that do run."""
    monkeypatch.setenv("RIBCAGE_RUN_DIR", str(tmp_path))
    names = Names("r9", tmp_path)
    names.make_run_dir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(names.control_socket))  # bound, but nobody listens
        ran = ribcage("-i", "r1", "ps")
        assert ran.status == Exit.NO_DAEMON == 4
        assert "running here: r9" in ran.err
        ran = ribcage("-j", "-i", "r9", "ps")
        assert ran.status == 4
        assert ran.document["error"]["code"] == "E_NO_DAEMON"


def test_5_privilege(router: Any, ribcage: Any) -> None:
    """A socket that may not be opened, or a method that may not be called."""
    router.answers["system.stop"] = refusal(router, "E_PERMISSION", "uid 1000 may only read", 5)
    ran = ribcage("-j", "stop")
    assert ran.status == Exit.PRIVILEGE == 5
    assert ran.document["error"]["code"] == "E_PERMISSION"


def test_6_timeout(router: Any, ribcage: Any) -> None:
    """A router that does not answer is given up after --timeout, not later."""
    router.silent = True
    started = time.monotonic()
    ran = ribcage("-j", "--timeout", "0.2", "ps")
    assert time.monotonic() - started < 5
    assert ran.status == Exit.TIMEOUT == 6
    assert ran.document["error"]["code"] == "E_TIMEOUT"


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\n",
        b"[]\n",
        b'{"id":1}\n',
        b'{"id":1,"result":3}\n',
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_7_an_answer_that_makes_no_sense(raw: bytes, router: Any, ribcage: Any) -> None:
    """Whatever comes back, a sentence and a status, never a traceback."""
    router.raw = raw
    ran = ribcage("-j", "ps")
    assert ran.status == Exit.INTERNAL == 7
    assert ran.document["error"]["code"] == "E_PROTOCOL"
    assert "Traceback" not in ribcage("ps").err


def test_7_a_bug_is_a_sentence_too(router: Any, ribcage: Any) -> None:
    """Misshapen rows crash nothing; -v shows the traceback for the report."""
    router.answers["drops.show"] = {"reasons": [{"total": []}]}
    ran = ribcage("drops")
    assert ran.status == 7
    assert ran.err.startswith("error[E_INTERNAL]: TypeError")
    assert "Traceback" not in ran.err
    assert "Traceback" in ribcage("-v", "drops").err


def test_4_a_router_that_hangs_up(router: Any, ribcage: Any) -> None:
    """A connection closed in the middle is no daemon."""
    router.raw = b'{"id":1,"resu'
    assert ribcage("-j", "ps").document["error"]["code"] == "E_NO_DAEMON"


def test_an_unknown_status_from_the_router_is_7(router: Any, ribcage: Any) -> None:
    """The table is closed; an error without data is still an error."""
    router.answers["process.list"] = refusal(router, "E_X", "x", 99)
    assert ribcage("ps").status == 7


def test_130_interrupted(router: Any) -> None:
    """Ctrl-C ends a waiting command at once, with a document under -j."""
    router.silent = True
    command = [sys.executable, "-m", "ribcage", "-j", "--timeout", "30", "ps"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not router.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out)["error"]["code"] == "E_INTERRUPTED"


def test_a_reader_that_leaves_early_is_no_error(router: Any) -> None:
    """`ribcage route show | head -1` ends quietly, with the status a shell gives SIGPIPE."""
    row = {"dst": "10.0.0.0/8", "protocol": "static", "nexthops": [{"via": "x" * 1000}]}
    router.answers["route.list"] = {"routes": [row] * 400, "cursor": None}
    process = subprocess.Popen(
        [sys.executable, "-m", "ribcage", "route", "show"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(20), err) == (128 + signal.SIGPIPE, b"")


def test_the_plan_reaches_the_supervisor_in_a_memfd(tmp_path: Path) -> None:
    """`run` executes the supervisor with the checked plan; -i and --teach win over the file."""
    fake = tmp_path / "fake"
    fake.write_text(
        "import os, sys\n"
        "words = sys.argv[1:]\n"
        "plan = os.pread(int(words[words.index('--plan-fd') + 1]), 1 << 20, 0).decode()\n"
        "print(words[:4], plan)\n"
    )
    path = tmp_path / "r.toml"
    path.write_text(GOOD)
    script = (
        "import os, sys\n"
        "real = os.execv\n"
        f"os.execv = lambda program, words: real(program, [program, {str(fake)!r}, *words[4:]])\n"
        "from ribcage.cli.main import main\n"
        f"sys.exit(main(['run', '-i', 'lab', '--teach', '-c', {str(path)!r}]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    words, _, plan = done.stdout.partition("] ")
    assert words == "['ribcage.roles', 'supervisor', '--instance', 'lab'"
    decoded = json.loads(plan)
    assert (decoded["name"], decoded["teach"]) == ("lab", True)
    assert decoded["config_path"] == str(path)


def test_without_teach_a_router_without_synchronisation_is_refused(
    ribcage: Any, tmp_path: Path
) -> None:
    """`sync = "none"` is a warning in the file, and exit 3 with the way out at `run`."""
    path = tmp_path / "r.toml"
    path.write_text(GOOD + '[fib]\nsync = "none"\n')
    assert "warning[W204]" in ribcage("config", "check", path).err
    ran = ribcage("run", "-c", path)
    assert ran.status == 3
    assert "E_TEACH" in ran.err
    assert "run --teach" in ran.err


def test_config_says_ok_and_prints_the_plan(ribcage: Any, tmp_path: Path) -> None:
    """check: one line; compile: a document; compile --plan: the bare plan, with or without -j."""
    path = tmp_path / "r.toml"
    path.write_text(GOOD + '[management]\nmode = "0666"\n')
    ran = ribcage("config", "check", path)
    assert (ran.status, ran.out) == (0, f"{path}: OK (0 errors, 1 warning)\n")
    assert "warning[W202]" in ran.err
    assert ribcage("-q", "config", "check", path).err == ""
    document = ribcage("-j", "config", "check", path).document
    assert (document["ok"], document["warnings"]) == (True, 1)
    plan = ribcage("-q", "config", "compile", "--plan", path).document
    assert plan["interfaces"] == [{"name": "eth1", "addresses": ["10.0.1.1/24"]}]
    assert ribcage("-j", "config", "compile", path).document["plan"] == plan


def test_reload_sends_a_checked_plan(router: Any, ribcage: Any, tmp_path: Path) -> None:
    """A good file becomes system.reload; a bad one is exit 3 and the router is not asked."""
    path = tmp_path / "r.toml"
    path.write_text(BAD)
    assert ribcage("reload", "-c", path).status == 3
    assert router.asked == []
    path.write_text(GOOD)
    assert ribcage("reload", "-c", path).status == 0
    method, params = router.asked[0]
    assert (method, params["plan"]["interfaces"][0]["name"]) == ("system.reload", "eth1")
    assert params["allow_empty"] is False
    none: list[str] = []
    router.answers["system.reload"] = {
        "changes": {
            "interfaces": {"added": ["eth3"], "removed": none, "changed": none},
            "routes": {"added": none, "removed": [f"10.0.{i}.0/24" for i in range(20)]},
            "settings": ["icmp.rate", "rings.slots"],
        },
        "needs_restart": ["rings.slots"],
        "problems": ["eth3: address 10.0.8.1/24: in use"],
        "rejected": [],
    }
    said = ribcage("reload", "-c", path).out.splitlines()[1:]
    assert said[0] == "interfaces added: eth3"
    assert said[1].startswith("routes removed: 10.0.0.0/24, ") and said[1].endswith("and 8 more")
    assert said[2:] == [
        "settings changed: icmp.rate",
        "unchanged until the router is started again: rings.slots",
        "could not be had: eth3: address 10.0.8.1/24: in use",
    ]
    route = '[[route]]\ntype = "blackhole"\ndst = "10.{}.{}.0/24"\n'
    many = (route.format(i >> 8, i & 255) for i in range(2000))
    path.write_text(GOOD.replace("10.0.1.1", "192.168.1.1") + "".join(many))
    assert ribcage("-j", "reload", "-c", path).document["error"]["code"] == "E_TOO_LARGE"


@pytest.mark.parametrize("status", [0, 8, 77])
def test_a_daemon_is_waited_for(
    status: int, ribcage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run --daemon` answers when the daemon says that it is ready, or with its reason why not; one
    that ends without a word is told, too."""
    monkeypatch.setenv("RIBCAGE_RUN_DIR", str(tmp_path))
    program = tmp_path / "daemon.py"
    said = {0: {"ready": True, "pid": 12345}, 77: None}.get(
        status, {"code": "E_RUNNING", "message": "it runs", "hint": "stop it", "exit": 8}
    )
    program.write_text(
        "import json, os, select, sys\n"
        "from ribcage.shared.process.channel import Channel\n"
        "channel = Channel.from_fd(int(sys.argv[-1]))\n"
        "select.select([channel], [], [])\n"
        "message = channel.recv()\n"
        "assert message.type == 'begin' and b'eth1' in os.pread(message.fds['plan'], 65536, 0)\n"
        "assert message.body['words'] == ['--instance', 'r1', '--guarded']\n"
        f"os.write(message.fds['status'], {b'' if said is None else json.dumps(said).encode()!r})\n"
    )
    monkeypatch.setattr(early, "python", lambda *words: [sys.executable, str(program), *words])
    path = tmp_path / "r.toml"
    path.write_text(GOOD)
    ran = ribcage("-j", "run", "--daemon", "-c", path)
    assert ran.err == ""
    if status == 0:
        log = str(tmp_path / "r1" / "super" / "ribcage.log")
        assert ran.document == {
            "schema": 1, "instance": "r1", "pid": 12345, "ready": True, "log": log,
        }  # fmt: skip
    elif status == 8:
        error = {"code": "E_RUNNING", "message": "it runs", "hint": "stop it"}
        assert ran.document["error"] == error
    else:
        assert ran.document["error"]["code"] == "E_START"
        assert "ended before it was ready" in ran.document["error"]["message"]
    assert ran.status == {0: 0, 8: 8, 77: 7}[status]


def test_config_reads_standard_input(tmp_path: Path) -> None:
    """`-` is standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "ribcage", "config", "check", "-"],
        input=BAD, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("stdin:2:8: error[E103]")


def test_the_file_is_found_where_it_is_said_to_be(
    ribcage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RIBCAGE_CONFIG names it; nothing named and nothing there is a question, exit 2."""
    (tmp_path / "r.toml").write_text(GOOD)
    monkeypatch.setenv("RIBCAGE_CONFIG", str(tmp_path / "r.toml"))
    assert ribcage("config", "check").status == 0
    monkeypatch.delenv("RIBCAGE_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert ribcage("config", "check").status == 2
    (tmp_path / "ribcage").mkdir()
    (tmp_path / "ribcage" / "r1.toml").write_text(GOOD)
    assert ribcage("config", "check").status == 0


def test_version_is_quick(tmp_path: Path) -> None:
    """Nothing heavy of ours is imported for it: not rich, pyroute2 or the compiled module."""
    script = (
        "import sys\nfrom ribcage.cli.main import main\nmain(['-j', 'version'])\n"
        "heavy = {'rich', 'pyroute2', 'asyncio', 'ribcage.shared._core'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["version"]
    assert time.monotonic() - started < 5  # 0.15 s where nothing else runs


def test_global_options_stand_anywhere() -> None:
    """Before, after, joined, with `=`; not after `--`."""
    options, rest = split(["-i", "r2", "route", "show", "-jp", "--timeout=2s", "--", "-q"])
    assert (options.instance, options.json, options.pretty, options.timeout) == (
        "r2",
        True,
        True,
        2,
    )
    assert (options.quiet, rest) == (False, ["route", "show", "--", "-q"])
    assert wants_json(["x", "-jp"])
    assert not wants_json(["x", "-v"])

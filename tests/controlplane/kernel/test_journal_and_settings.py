"""The journal and the sysctls over a fake /proc/sys: the way back is exact."""

import errno
import json
import os
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from ribcage.controlplane.kernel.changes.journal import Journal, PortState, namespace_id
from ribcage.controlplane.kernel.changes.settings import (
    Sysctls,
    namespace_settings,
    port_settings,
    restore,
    table_sizes,
)
from ribcage.controlplane.kernel.changes.undo import undo


def silent(_level: str, _event: str, **_fields: object) -> None:
    pass


def full_journal(path: Path) -> Journal:
    journal = Journal(path, "r1", namespace_id())
    journal.settings["net/ipv4/ip_forward"] = ("1", "0")
    journal.tables.append("ribcage_r1")
    journal.links["rc-host"] = b"\2\0\0\0\0\1"
    journal.ports["eth1"] = PortState(3, (1500, 1400), None)
    journal.ports["eth2"] = PortState(4, None, (False, True))
    journal.addresses.add(("eth1", ip_interface("10.0.1.1/24")))
    journal.managed.add(("eth1", ip_address("10.0.1.2")))
    journal.metrics[4] = 0xFFFFFFFF
    return journal


def test_a_journal_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Every field survives the file, and no half-written file stays."""
    journal = full_journal(tmp_path / "undo.json")
    journal.write()
    assert Journal.load(tmp_path / "undo.json") == journal
    assert [path.name for path in tmp_path.iterdir()] == ["undo.json"]


def test_a_writing_that_fails_leaves_the_old_journal_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full run directory; and a part that a death left goes with the journal."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Journal(tmp_path / "undo.json", "r1", namespace_id())
    journal.write()
    before = journal.path.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", full)
        with pytest.raises(OSError, match="No space"):
            journal.write()
    assert [path.read_text() for path in tmp_path.iterdir()] == [before]
    journal.path.with_suffix(".part").write_text("{")
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_successor_continues_the_journal_of_a_killed_control(tmp_path: Path) -> None:
    """Same boot, same namespace: the first values stay the first values."""
    journal = full_journal(tmp_path / "undo.json")
    journal.write()
    assert Journal.open(tmp_path / "undo.json", "r1") == journal


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"version": 1}', '{"version": 2}', "null", '"x"', "\x00", "[" * 100_000],
)
def test_a_damaged_journal_is_put_aside(tmp_path: Path, text: str) -> None:
    """Start goes on with an empty one; the text is kept for whoever asks."""
    path = tmp_path / "undo.json"
    path.write_text(text)
    assert Journal.open(path, "r1").empty
    assert (tmp_path / "undo.void").read_text() == text


def test_a_journal_of_another_boot_is_void(tmp_path: Path) -> None:
    """What it lists went with that boot."""
    journal = full_journal(tmp_path / "undo.json")
    journal.namespace = "another-boot/4026531840"
    journal.write()
    assert Journal.open(tmp_path / "undo.json", "r1").empty


def fake_proc(root: Path, ports: tuple[str, ...] = ("eth1",)) -> dict[str, str]:
    """A /proc/sys with values unlike ours; returns them."""
    names = [name for name, _ in namespace_settings()]
    for port in ports:
        names += [name for name, _ in port_settings(port)]
    values = {name: "1" for name in names}
    for name, value in values.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n")
    return values


def snapshot(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text().strip()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_settings_are_journalled_before_and_restored_after(tmp_path: Path) -> None:
    """apply then restore is the identity; the file on disk knew every first value."""
    root, path = tmp_path / "sys", tmp_path / "undo.json"
    before = fake_proc(root)
    journal = Journal(path, "r1", namespace_id())
    settings = Sysctls(journal, silent, root)
    assert settings.apply([*namespace_settings(), *port_settings("eth1")]) == []
    assert set(snapshot(root).values()) == {"0"}
    assert restore(Journal.load(path).settings, root) == []
    assert snapshot(root) == before


def test_a_second_start_keeps_the_first_values(tmp_path: Path) -> None:
    """The successor of a killed control finds our values and must not take them for the host's."""
    root, path = tmp_path / "sys", tmp_path / "undo.json"
    before = fake_proc(root)
    for _ in range(2):
        journal = Journal.open(path, "r1")
        Sysctls(journal, silent, root).apply(namespace_settings())
    restore(Journal.load(path).settings, root)
    assert snapshot(root) == before


def test_what_somebody_else_changed_since_stays(tmp_path: Path) -> None:
    """A value that is no longer ours is not ours to restore."""
    root = tmp_path / "sys"
    fake_proc(root)
    journal = Journal(tmp_path / "undo.json", "r1", namespace_id())
    Sysctls(journal, silent, root).apply(port_settings("eth1"))
    (root / "net/ipv4/conf/eth1/rp_filter").write_text("2")
    assert restore(journal.settings, root) == []
    assert (root / "net/ipv4/conf/eth1/rp_filter").read_text() == "2"


def test_absent_settings_are_skipped_and_refused_ones_told(tmp_path: Path) -> None:
    """IPv6 switched off is no problem; a setting that cannot be written is one."""
    root = tmp_path / "sys"
    root.mkdir()
    journal = Journal(tmp_path / "undo.json", "r1", namespace_id())
    settings = Sysctls(journal, silent, root)
    assert settings.apply(port_settings("eth1")) == []
    assert not (tmp_path / "undo.json").exists()


def test_what_a_daemon_switched_on_is_what_stop_leaves(tmp_path: Path) -> None:
    """FRR wants forwarding: we hold it off while we run, and give it back after."""
    root = tmp_path / "sys"
    fake_proc(root)
    switch = root / "net/ipv4/ip_forward"
    switch.write_text("0\n")
    journal = Journal(tmp_path / "undo.json", "r1", namespace_id())
    settings = Sysctls(journal, silent, root)
    settings.apply(namespace_settings())
    switch.write_text("1\n")
    assert settings.switch_off("net/ipv4/ip_forward") is True
    assert switch.read_text() == "0"
    assert settings.switch_off("net/ipv4/ip_forward") is None
    restore(journal.settings, root)
    assert switch.read_text() == "1"


def test_neighbour_tables_grow_and_never_shrink(tmp_path: Path) -> None:
    """gc thresholds below what is needed are raised; larger ones are left alone."""
    root = tmp_path / "sys"
    folder = root / "net/ipv4/neigh/default"
    folder.mkdir(parents=True)
    for name, value in (("gc_thresh1", 128), ("gc_thresh2", 512), ("gc_thresh3", 1_000_000)):
        (folder / name).write_text(f"{value}\n")
    journal = Journal(tmp_path / "undo.json", "r1", namespace_id())
    Sysctls(journal, silent, root).raise_to(table_sizes(4096))
    values = [(folder / f"gc_thresh{n}").read_text().strip() for n in (1, 2, 3)]
    assert values == ["4096", "8192", "1000000"]
    assert set(json.loads((tmp_path / "undo.json").read_text())["settings"]) == {
        "net/ipv4/neigh/default/gc_thresh1",
        "net/ipv4/neigh/default/gc_thresh2",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"net/../../kernel/core_pattern": ["|/bin/sh", "x"]}},
        {"settings": {"net/ipv4/conf/../../kernel/x/forwarding": ["1", "0"]}},
        {"settings": {"net/ipv4/conf/eth1/forwarding": ["1\n2", "0"]}},
        {"settings": {"kernel/modprobe": ["1", "0"]}},
        {"settings": {"net/ipv4/conf/../forwarding": ["1", "0"]}},
        {"tables": ["ribcage_r1\nflush ruleset"]},
        {"tables": ["filter"]},
        {"links": {"eth0; reboot": "02:00:00:00:00:01"}},
        {"ports": {"a/b": {"ifindex": 1, "mtu": None, "up": None}}},
    ],
)
def test_a_journal_that_asks_for_what_is_not_ours_is_void(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """Control's user can write the file, and root may be who undoes: only settings of a closed
    list, values of digits, tables and links of our names. Nothing of such a file is done."""
    path = tmp_path / "undo.json"
    full_journal(path).write()
    body = json.loads(path.read_text())
    path.write_text(json.dumps({**body, **change}))
    with pytest.raises(ValueError, match="not an undo journal"):
        Journal.load(path)
    assert undo(path) != []
    assert path.exists()


def test_a_journal_is_never_read_through_a_link(tmp_path: Path) -> None:
    """Nor from a pipe that would hold the reader up."""
    full_journal(tmp_path / "real.json").write()
    link, pipe = tmp_path / "undo.json", tmp_path / "pipe"
    link.symlink_to(tmp_path / "real.json")
    os.mkfifo(pipe)
    for path in (link, pipe):
        with pytest.raises(ValueError):
            Journal.load(path)

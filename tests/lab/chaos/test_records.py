"""Record files: whole records in order, whatever reader and writer do when."""

from pathlib import Path

import pytest

from ribcage.lab.probe import records
from ribcage.lab.probe.records import SENT, RecordReader, RecordWriter


def test_a_reader_gets_each_record_once_while_they_are_written(tmp_path: Path) -> None:
    """Before the first write there is nothing, and what is not flushed is not there yet."""
    reader = RecordReader(tmp_path, "s1", SENT)
    assert list(reader.read()) == []
    writer = RecordWriter(tmp_path, "s1", SENT)
    writer.add(1, 2, 3)
    assert list(reader.read()) == []
    writer.flush()
    writer.add(4, 5, 6)
    assert list(reader.read()) == [(1, 2, 3)]
    writer.close()
    assert list(reader.read()) == [(4, 5, 6)]
    reader.close()


def test_files_that_were_read_whole_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of hours takes no more room than the newest file."""
    monkeypatch.setattr(records, "LIMIT", 64)
    writer, reader = RecordWriter(tmp_path, "s1", SENT), RecordReader(tmp_path, "s1", SENT)
    expected = []
    seen = []
    for number in range(100):
        writer.add(0, number, number * 7)
        writer.flush()
        expected.append((0, number, number * 7))
        if number % 9 == 0:
            seen += reader.read()
    writer.close()
    seen += reader.read()
    reader.close()
    assert seen == expected
    assert len(list(tmp_path.iterdir())) == 1


def test_half_a_record_waits_for_its_other_half(tmp_path: Path) -> None:
    """A write that was read in the middle tears nothing."""
    raw = SENT.pack(1, 2, 3) + SENT.pack(4, 5, 6)
    path = tmp_path / "s1.000000"
    path.write_bytes(raw[:20])
    reader = RecordReader(tmp_path, "s1", SENT)
    assert list(reader.read()) == [(1, 2, 3)]
    with path.open("ab") as file:
        file.write(raw[20:])
    assert list(reader.read()) == [(4, 5, 6)]
    reader.close()

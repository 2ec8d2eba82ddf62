"""How much memory a process costs."""

from pathlib import Path


def private_kb(pid: int) -> int:
    """Memory that nobody else has: how much of libpython is mapped is the page cache's affair."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Private_"))

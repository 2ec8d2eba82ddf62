"""The pages of docs/ say what the programs do: each is generated, complete, and its files exist."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from ribcage.cli.reasons import REASONS
from ribcage.shared.codes import CODES, GROUPS

ROOT = Path(__file__).resolve().parent.parent
PLANES = ("ribcage", "controlplane", "dataplane", "shared")
CODE = re.compile(r"E_[A-Z_]+|[EW]\d{3}")


def test_the_generated_pages_are_not_stale() -> None:
    """docs/cli.md, errors.md and drops.md equal what docs/pages.py writes now."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "pages.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_error_code_in_the_sources_is_explained_and_no_other() -> None:
    """A code that somebody may meet has a line in docs/errors.md; a line has a code."""
    found = set()
    for plane in PLANES:
        for path in (ROOT / plane).rglob("*.py"):
            if path.name == "codes.py":
                continue
            tree = ast.parse(path.read_text())
            asked = {  # a code that is only compared with is raised by nobody here
                part
                for node in ast.walk(tree)
                if isinstance(node, ast.Compare)
                for part in ast.walk(node)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    raised = CODE.fullmatch(node.value) and node not in asked
                    found |= {node.value} if raised else set()
    assert len(found) > 80
    assert found == set(CODES)
    assert sum(len(group) for group in GROUPS.values()) == len(CODES)


def test_every_drop_reason_is_explained() -> None:
    """What, why and what to do, in whole sentences, for each reason that the workers count."""
    for name, reason in REASONS.items():
        assert all(part.endswith((".", "?")) for part in reason), name


def pages() -> list[Path]:
    """What people read: the maps and everything in docs/."""
    maps = ("README.md", "CONTRIBUTING.md", "csrc/README.md", "tests/README.md")
    return [*(ROOT / name for name in maps), *(ROOT / "docs").rglob("*.md")]


def test_every_page_and_file_that_a_page_links_to_exists() -> None:
    """Links point at files that are there."""
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages()
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert missing == []


def test_every_file_that_a_page_names_exists() -> None:
    """`csrc/fib/read.c` in a sentence or a command is a file; a page outlives no move unseen."""
    named = re.compile(
        r"(?<![\w./-])((?:csrc|controlplane|dataplane|shared|ribcage|lab|tests)/[\w/.]*\w)"
    )
    missing, seen = [], 0
    for page in pages():
        text = re.sub(r"```diff\n.*?```", "", page.read_text(), flags=re.DOTALL)  # not there yet
        for path in named.findall(text):
            seen += 1
            if not (ROOT / path).exists():
                missing.append(f"{page.relative_to(ROOT)}: {path}")
    assert seen > 100
    assert missing == []


def test_every_decision_has_its_parts_and_number() -> None:
    """Numbers without a gap; a question, a choice, and what would change our mind."""
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        text = record.read_text()
        assert text.startswith(f"# {record.name[:4]}: "), record.name
        for part in ("**Question.**", "**Choice.**", "**What would change our mind.**"):
            assert part in text, f"{record.name} has no {part}"


def test_commands_the_texts_tell_to_type_exist() -> None:
    """Each `ribcage ...` in README and docs begins with words the parser knows."""
    from typer.main import get_command

    from ribcage.cli.app import build

    root = get_command(build())
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    unknown = []
    for page in pages:
        for line in re.findall(r"^(?:sudo )?\.venv/bin/ribcage ([^#\n`]+)", page.read_text(), re.M):
            words = [w for w in re.sub(r"-i \S+", "", line).split() if not w.startswith("-")]
            first = getattr(root, "commands", {}).get(words[0])
            below = getattr(first, "commands", None)
            if first is None or (below is not None and words[1] not in below):
                unknown.append(f"{page.name}: {line}")
    assert unknown == []


def test_every_file_that_a_comment_or_page_names_with_its_folder_exists() -> None:
    """A name that was right before the last move sends its reader astray."""
    folders = ("csrc", "controlplane", "dataplane", "shared", "lab", "tests")
    texts = (".py", ".c", ".h", ".md", ".sh")
    files = [path for folder in (*folders, "docs") for path in sorted((ROOT / folder).rglob("*"))]
    files += sorted(ROOT.glob("*.md"))
    # Records tell what was; extending.md makes files of its own, which its tests build.
    past = {ROOT / "CHANGELOG.md", ROOT / "docs" / "extending.md"}
    past |= set((ROOT / "docs" / "decisions").iterdir())
    named = re.compile(rf"(?<![\w./-])(?:{'|'.join(folders)})/[a-z0-9_./-]+\.(?:py|[ch])\b")
    lost = {
        (str(path.relative_to(ROOT)), name)
        for path in files
        if path.suffix in texts and path not in past
        for name in named.findall(path.read_text())
        if not (ROOT / name).exists() and not (path.parent / name).exists()
    }
    assert lost == set()

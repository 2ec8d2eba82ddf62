"""The import arrows: controlplane -> shared <- dataplane, and what each process may not import."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLANES = {
    "shared": {"shared"},
    "controlplane": {"controlplane", "shared"},
    "dataplane": {"dataplane", "shared"},
    "lab": {"lab", "controlplane", "dataplane", "shared", "cli"},
}
# The supervisor forks, so it stays small; a worker inherits what it imported.
HEAVY = {"asyncio", "pyroute2", "structlog", "pydantic", "typer", "rich", "tomllib"}


def imports(path: Path) -> set[str]:
    """Every module a file imports, dotted, wherever in the file the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; name the package"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_imports(path: Path) -> set[str]:
    """Modules imported when the file is imported: those outside functions."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        todo.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("folder", sorted(PLANES))
def test_a_plane_imports_only_downwards(folder: str) -> None:
    """An import of another plane is an error that names both files."""
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "ribcage" and len(parts) > 1 and parts[1] not in PLANES[folder]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("folder", ["controlplane/supervisor", "dataplane", "shared"])
def test_what_runs_before_a_fork_imports_nothing_heavy(folder: str) -> None:
    """The supervisor forks the workers: asyncio, pyroute2 and the like never enter it."""
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        heavy = {name for name in module_imports(path) if name.split(".")[0] in HEAVY}
        if heavy:
            wrong.append(f"{path.relative_to(ROOT)} imports {sorted(heavy)}")
    assert wrong == []


def test_no_two_classes_have_one_name() -> None:
    """A name says which class is meant, without its import: in all planes, type aliases too."""
    found: dict[str, list[str]] = {}
    for plane in (*PLANES, "ribcage"):
        for path in sorted((ROOT / plane).rglob("*.py")):
            if any(parent.is_symlink() for parent in path.parents):
                continue  # ribcage/controlplane and the like lead back here
            tree = ast.parse(path.read_text())
            names = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
            for node in tree.body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    name = node.targets[0].id
                    names += [name] if name[0].isupper() and not name.isupper() else []
            for name in names:
                found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert len(found) > 200
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}

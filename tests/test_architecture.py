"""The import arrows: controlplane -> shared <- dataplane, the rooms of controlplane/, no circle
anywhere, and what each process may not import."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLANES = {
    "shared": {"shared"},
    "controlplane": {"controlplane", "shared"},
    "dataplane": {"dataplane", "shared"},
    "lab": {"lab", "controlplane", "dataplane", "shared", "cli"},
}
FOLDERS = (*PLANES, "ribcage")
# The supervisor forks, so it stays small; a worker inherits what it imported.
HEAVY = {"asyncio", "pyroute2", "structlog", "pydantic", "typer", "rich", "tomllib"}


def files(folder: str) -> list[Path]:
    """The Python files of a folder; not those behind ribcage/'s links of the planes."""
    found = sorted((ROOT / folder).rglob("*.py"))
    return [path for path in found if not any(one.is_symlink() for one in path.parents)]


def module_of(path: Path) -> str:
    """`controlplane/rib/__init__.py` -> `ribcage.controlplane.rib`."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "ribcage" else ["ribcage", *parts])


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(node: ast.AST, path: Path) -> Iterator[str]:
    """What one statement imports; `from a import b` as `a` and as `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{path}: relative import; name the package"
        yield node.module or ""
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path: Path) -> set[str]:
    """Every module a file imports, dotted, wherever in the file the import stands."""
    return {name for node in ast.walk(tree_of(path)) for name in imported(node, path)}


def module_imports(path: Path) -> set[str]:
    """Modules imported when the file is imported: those outside functions."""
    found: set[str] = set()
    todo: list[ast.AST] = [tree_of(path)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        found |= set(imported(node, path))
        todo.extend(ast.iter_child_nodes(node))
    return found


def packages_of(module: str) -> set[str]:
    """`a.b.c` -> `a.b`, `a`: what runs before it."""
    return {module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)}


@cache
def graph() -> dict[str, set[str]]:
    """Module -> the modules of ours it needs, packages on the way to them included. Imports in
    functions and under TYPE_CHECKING count like any other."""
    known = {module_of(path): path for folder in FOLDERS for path in files(folder)}
    edges: dict[str, set[str]] = {}
    for module, path in known.items():
        targets: set[str] = set()
        for node in ast.walk(tree_of(path)):
            names = list(imported(node, path))
            if isinstance(node, ast.ImportFrom):  # a name of the package, or modules in it alone
                inside = [name in known for name in names[1:]]
                names = names[1:] if all(inside) else names
            targets |= known.keys() & set(names)
        on_the_way = {package for target in targets for package in packages_of(target)}
        edges[module] = (targets | (on_the_way - packages_of(module))) - {module}
    return edges


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The groups of nodes that need each other (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in number:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(edges):
        if node not in number:
            visit(node)
    return found


@cache
def rooms() -> dict[str, set[str]]:
    """Room of controlplane/ -> the rooms it may import, as controlplane/__init__.py declares."""
    text = ast.get_docstring(tree_of(ROOT / "controlplane" / "__init__.py")) or ""
    lines = re.findall(r"^ {4}(\w+) +-> +(.+)$", text, re.MULTILINE)
    return {room: set(allowed.split()) - {"shared"} for room, allowed in lines}


def arrows() -> Iterator[tuple[str, str, str]]:
    """(room, another that it imports, which file does): of controlplane/."""
    for module, needed in graph().items():
        for other in needed:
            ours, theirs = module.split("."), other.split(".")
            inside = ours[1:2] == theirs[1:2] == ["controlplane"] and len(ours) > 2 < len(theirs)
            if inside and ours[2] != theirs[2]:
                yield ours[2], theirs[2], f"{module} imports {other}"


@pytest.mark.parametrize("folder", sorted(PLANES))
def test_a_plane_imports_only_downwards(folder: str) -> None:
    """An import of another plane is an error that names both files."""
    wrong = []
    for path in files(folder):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "ribcage" and len(parts) > 1 and parts[1] not in PLANES[folder]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("folder", ["controlplane/supervisor", "dataplane", "shared"])
def test_what_runs_before_a_fork_imports_nothing_heavy(folder: str) -> None:
    """The supervisor forks the workers: asyncio, pyroute2 and the like never enter it."""
    wrong = []
    for path in files(folder):
        heavy = {name for name in module_imports(path) if name.split(".")[0] in HEAVY}
        if heavy:
            wrong.append(f"{path.relative_to(ROOT)} imports {sorted(heavy)}")
    assert wrong == []


def test_no_circle_of_imports() -> None:
    """None at all, also none that is hidden in a function or under TYPE_CHECKING."""
    assert circles(graph()) == []


def test_a_circle_is_found() -> None:
    """The test above can fail: two nodes that need each other, and a longer way round."""
    assert circles({"a": {"b"}, "b": {"a"}, "c": {"a"}}) == [["a", "b"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"d"}}) == [["a", "b", "c"]]


@pytest.mark.parametrize("folder", ["controlplane", "dataplane", "shared"])
def test_the_planes_import_at_the_top_of_a_file(folder: str) -> None:
    """An import in a function would hide an arrow; only the composition root and the command
    line have those, to start quickly."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(folder)
        for name in sorted(imports(path) - module_imports(path))
        if name.startswith("ribcage.")
    ]
    assert wrong == []


def test_rooms_import_in_the_declared_direction() -> None:
    """controlplane/__init__.py says which room may import which."""
    declared = rooms()
    there = {path.parent.name for path in (ROOT / "controlplane").glob("*/__init__.py")}
    assert declared.keys() == there, "a room and no line in controlplane/__init__.py, or none left"
    wrong = [text for room, other, text in arrows() if other not in declared[room]]
    assert wrong == []


def test_the_declared_directions_have_no_circle() -> None:
    """So there is an order in which the rooms can be read, each after those it uses."""
    assert circles(rooms()) == []


def test_every_declared_arrow_is_used() -> None:
    """An arrow that nobody needs would let one in that nobody wants."""
    used: dict[str, set[str]] = {room: set() for room in rooms()}
    for room, other, _ in arrows():
        used[room].add(other)
    assert used == rooms()


PACKAGES = [path.parent for folder in FOLDERS for path in files(folder) if path.stem == "__init__"]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_folder_has_its_map(package: Path) -> None:
    """The package's text says what it is for, what it may touch, and where to begin reading; the
    files it names are there."""
    text = ast.get_docstring(tree_of(package / "__init__.py")) or ""
    begin = re.search(r"Begin with ([\w/]+(?:\.py)?)", text)
    assert begin is not None, "no `Begin with FILE`"
    named = set(re.findall(r"\b([\w/]+\.py)\b", text)) | {begin[1].rstrip("/")}
    missing = [n for n in sorted(named) if not (package / n).exists() and not (ROOT / n).exists()]
    assert missing == []
    if package.parent.name == "controlplane":
        uses = re.search(r"^Imports: (.+)\.$", text, re.MULTILINE)
        assert uses is not None, "no line `Imports: ROOMS.`"
        assert set(uses[1].split(", ")) == rooms()[package.name] | {"shared"}


@pytest.mark.parametrize("folder", ["controlplane", "dataplane", "shared", "ribcage"])
def test_no_file_and_no_folder_outgrows_its_reader(folder: str) -> None:
    """350 lines a file; 14 files and 3,500 lines a folder, but for the command line's commands."""
    sizes = {path: path.read_text().count("\n") for path in files(folder)}
    assert {str(path): size for path, size in sizes.items() if size > 350} == {}
    for room in {path.parent for path in sizes}:
        inside = [size for path, size in sizes.items() if path.parent == room]
        assert sum(inside) <= 3500, room
        assert len(inside) <= 14 or room.name == "cli", room


def test_no_two_classes_have_one_name() -> None:
    """A name says which class is meant, without its import: in all planes, type aliases too."""
    found: dict[str, list[str]] = {}
    for folder in FOLDERS:
        for path in files(folder):
            tree = tree_of(path)
            names = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
            for node in tree.body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    name = node.targets[0].id
                    names += [name] if name[0].isupper() and not name.isupper() else []
            for name in names:
                found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert len(found) > 200
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_nothing_is_defined_that_nobody_names() -> None:
    """What lost its last caller in a rearrangement goes with it; a decorator is a caller."""
    everywhere = [path.read_text() for folder in (*FOLDERS, "tests") for path in files(folder)]
    uses = Counter(word for text in everywhere for word in re.findall(r"\w+", text))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    lost = []
    for path in (path for folder in FOLDERS for path in files(folder)):
        tree = tree_of(path)
        names = [node.name for node in ast.walk(tree)
                 if isinstance(node, functions) and not node.decorator_list]  # fmt: skip
        names += [target.id for node in tree.body if isinstance(node, ast.Assign)
                  for target in node.targets if isinstance(target, ast.Name)]  # fmt: skip
        lost += [f"{path.relative_to(ROOT)}: {name}" for name in names
                 if uses[name] < 2 and not name.startswith("__")]  # fmt: skip
    assert lost == []

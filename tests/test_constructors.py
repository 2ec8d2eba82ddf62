"""An object is whole once it is made: nobody has to know what was set on it, and when."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLANES = ("controlplane", "dataplane", "shared")


def stored(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(`self`, `name`) for each attribute that a statement below `node` stores."""
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store):
            yield ast.unparse(one.value), one.attr


def declared(kind: ast.ClassDef) -> set[str]:
    """A dataclass's fields and what __slots__ lists; a bare annotation declares nothing."""
    names: set[str] = set()
    for node in kind.body:
        if isinstance(node, ast.AnnAssign) and "dataclass" in map(name_of, kind.decorator_list):
            names.add(ast.unparse(node.target))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            names |= set(ast.literal_eval(node.value))
    return names


def name_of(decorator: ast.expr) -> str:
    return ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)


def made(methods: dict[str, ast.AST]) -> set[str]:
    """What the constructor stores, its own helpers (methods of `self` it calls) included."""
    names: set[str] = set()
    todo, done = ["__init__", "__post_init__"], set[str]()
    while todo:
        name = todo.pop()
        if name in methods and name not in done:
            done.add(name)
            names |= {attribute for owner, attribute in stored(methods[name]) if owner == "self"}
            called = [n.func for n in ast.walk(methods[name]) if isinstance(n, ast.Call)]
            todo += [ast.unparse(one).removeprefix("self.") for one in called]
    return names


def late(text: str) -> list[str]:
    """Attributes of `self` that some method stores and no constructor does."""
    found = []
    for kind in ast.walk(ast.parse(text)):
        if isinstance(kind, ast.ClassDef):
            functions = ast.FunctionDef | ast.AsyncFunctionDef
            methods: dict[str, ast.AST] = {
                one.name: one for one in kind.body if isinstance(one, functions)
            }
            known = declared(kind) | made(methods)
            for name, method in methods.items():
                for owner, attribute in stored(method):
                    if owner == "self" and attribute not in known:
                        found.append(f"{kind.name}.{attribute} in {name}")
    return found


@pytest.mark.parametrize("plane", PLANES)
def test_an_attribute_is_there_from_the_constructor_on(plane: str) -> None:
    """Else every method has to ask with hasattr, or to know which was called before."""
    files = sorted((ROOT / plane).rglob("*.py"))
    assert {str(path): names for path in files if (names := late(path.read_text()))} == {}


@pytest.mark.parametrize("plane", PLANES)
def test_a_callback_is_an_argument_of_the_constructor(plane: str) -> None:
    """Set afterwards, it is a hole until then, and a wire that no signature shows."""
    wrong = [
        f"{path.relative_to(ROOT)}: {owner}.{name}"
        for path in sorted((ROOT / plane).rglob("*.py"))
        for owner, name in stored(ast.parse(path.read_text()))
        if name.startswith("on_") and owner != "self"
    ]
    assert wrong == []


def test_what_is_set_later_is_found() -> None:
    """The tests above can fail."""
    text = "class A:\n  def __init__(self): self.a = 1; self.b()\n  def b(self): self.c = 1\n"
    assert late(text) == []
    assert late(text + "  e: int\n  def d(self): self.e = 1\n") == ["A.e in d"]

"""What errors say, read from where they are raised: the forms that docs/errors.md lists.

    forms()["E_TABLE_FULL"]     # ["no room for …: the routing table is full; …", ...]

A form is the text of a message with `…` for what only the moment knows. It stands in the sources
behind its code, in a call or in a row of a table (shared/refusals.py), so the page cannot say
something else than the program. A message made elsewhere has no form; its code stands alone.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLANES = ("controlplane", "dataplane", "shared", "ribcage", "lab")
CODE = re.compile(r"[EW]_[A-Z_]+|[EW][0-9]{3}")
GAP = "…"
MAKERS = (
    *("RibcageError", "ProtocolError", "AddressError", "Problem", "Refusal"),
    *("usage", "refuse", "self._end_with_error", "self._turn_away"),
)  # what makes an error, or does it soon


def sources() -> Iterator[Path]:
    """Every Python file of the planes, once, without the text of the codes themselves."""
    for plane in PLANES:
        for path in sorted((ROOT / plane).rglob("*.py")):
            linked = any(parent.is_symlink() for parent in path.parents)
            if not linked and path.name != "codes.py":
                yield path


def text_of(node: ast.AST, named: Mapping[str, str]) -> str | None:
    """The form that an expression gives, None when it is no text; `named`: the file's texts."""
    match node:
        case ast.Name(id=name) if name in named:
            return named[name]
        case ast.Constant(value=str() as text):
            return re.sub(r"\{[^{}]*\}", GAP, text)  # those of refusals.py are filled later
        case ast.JoinedStr(values=values):
            return "".join(
                GAP if isinstance(one, ast.FormattedValue) else text_of(one, named) or ""
                for one in values
            )
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return f"{text_of(left, named) or GAP}{text_of(right, named) or GAP}"
        case ast.IfExp() | ast.Name() | ast.Call() | ast.Attribute():
            return GAP
    return None


def _words(node: ast.AST) -> list[ast.expr]:
    """What may hold a code and its message side by side: arguments, or the row of a table."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in MAKERS:
        return node.args
    return node.elts if isinstance(node, ast.Tuple) else []


def forms() -> dict[str, list[str]]:
    """Code -> its messages, in the order of the files."""
    found: dict[str, list[str]] = {}
    for path in sources():
        tree = ast.parse(path.read_text())
        named: dict[str, str] = {}
        for line in tree.body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                text = text_of(line.value, named)
                if text is not None:
                    named[line.targets[0].id] = text
        for node in ast.walk(tree):
            for code, message in pairwise(_words(node)):
                if not isinstance(code, ast.Constant) or not isinstance(code.value, str):
                    continue
                form = text_of(message, named) if CODE.fullmatch(code.value) else None
                if form is None or CODE.fullmatch(form):
                    continue
                known = found.setdefault(code.value, [])
                if form.replace(GAP, "").strip() and form not in known:
                    known.append(form)
    return found

"""All kinds by name, and those that a run draws from."""

from ribcage.lab.chaos.kinds import floods, links, objects, processes, settings
from ribcage.lab.chaos.kinds.kind import Kind
from ribcage.shared.errors import Exit, RibcageError

ALL: dict[str, Kind] = {
    kind.name: kind
    for family in (processes, links, objects, settings, floods)
    for kind in family.KINDS
}

DEFAULT: dict[str, Kind] = {name: kind for name, kind in ALL.items() if not kind.later}
"""What a run draws from when nobody names kinds."""


def named(words: str) -> list[Kind]:
    """`--only KIND[,KIND]`; a word that ends in `-` is a family: `worker-`."""
    chosen: list[Kind] = []
    for word in words.split(","):
        fits = [kind for name, kind in ALL.items() if name == word or
                (word.endswith("-") and name.startswith(word))]  # fmt: skip
        if not fits:
            raise RibcageError(
                "E_USAGE",
                f"there is no kind {word[:40]!r} of fault",
                "see: ribcage lab chaos --list",
                Exit.USAGE,
            )
        chosen += [kind for kind in fits if kind not in chosen]
    return chosen

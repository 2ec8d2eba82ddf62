"""What each drop reason means, why a router does it, and what to do about it.

The text of `ribcage help drop REASON`, and of docs/drops.md, which is written from here. It comes
from the one list in csrc/layout/drop_reasons.h.
"""

from typing import NamedTuple

from ribcage.shared._core import ffi, lib
from ribcage.shared.memory.stats import REASONS as NUMBERS


class Reason(NamedTuple):
    """what happened; why it is a drop (with the RFC where there is one); what to do."""

    what: str
    why: str
    do: str


def _reason(number: int) -> Reason:
    text = lib.drop_reason_text(number)
    return Reason(*(ffi.string(part).decode() for part in (text.what, text.why, text.remedy)))


REASONS = {name: _reason(number) for number, name in NUMBERS.items()}

"""The named errors for what the two tables refuse: a limit, shown, and what to do about it."""

import errno
import os
from typing import Any

from ribcage.shared._core import lib

from ribcage.shared.errors import Exit, RibcageError


def rib_refusal(error: int, row: Any) -> RibcageError:
    """What rib_apply's errno about a `struct route_row` means."""
    if error == errno.ENOSPC:
        return RibcageError(
            "E_TABLE_FULL",
            "the routing table is full; every route that was there is still in force",
            "raise fib.max_routes4 or fib.max_routes6 and start the router again",
            Exit.NO,
        )
    if error == errno.EDQUOT:
        return RibcageError(
            "E_LIMIT",
            "this source has as many routes as it may have",
            "delete some of them first",
            Exit.NO,
        )
    if error == errno.E2BIG:
        return RibcageError(
            "E_CANDIDATES",
            f"this prefix has {lib.RIB_MAX_CANDIDATES} routes already, which is the limit",
            "delete one of them first",
            Exit.NO,
        )
    name = errno.errorcode.get(error, str(error))
    return RibcageError(
        "E_ROW", f"the routing table refused a row of length {int(row.length)}: {name}"
    )


def fib_refusal(error: int, row: Any, limits: tuple[int, int]) -> RibcageError:
    """What fib_apply's errno about a `struct route_row` means; limits are routes (v4, v6)."""
    family = int(row.family)
    limit = limits[0] if family == 4 else limits[1]
    hint = f"raise fib.max_routes{family} in the config file and start the router again"
    if error == errno.E2BIG:
        message = f"the IPv{family} forwarding table is full: its limit is {limit} routes"
        return RibcageError("E_TABLE_FULL", message, hint, Exit.NO)
    if error == errno.ENOSPC:
        message = f"the forwarding table's memory is used up (limit {limit} IPv{family} routes)"
        return RibcageError("E_TABLE_FULL", message, hint, Exit.NO)
    return RibcageError(
        "E_ROW",
        f"the forwarding table refused a row of length {int(row.length)}: {os.strerror(error)}",
    )

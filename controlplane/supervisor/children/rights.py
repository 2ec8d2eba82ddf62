"""Which rights a child is given: docs/rights.md says why.

ForkSpec(..., rights=rights_of(child, context))
"""

from ribcage.controlplane.supervisor.children.table import Child
from ribcage.controlplane.supervisor.context import Context
from ribcage.controlplane.supervisor.resources.folders import management_group
from ribcage.controlplane.supervisor.rights import CONTROL, CONTROL_PROGRAMS
from ribcage.shared.process.rights import Rights


def rights_of(child: Child, context: Context) -> Rights:
    """E_USERS when no uid is left for a worker."""
    users, cores = context.users, context.plan.process.core_dumps
    if child.role == "worker":
        return Rights(users.worker(child.index), users.group, core_dumps=cores, worker=True)
    # The standby's too. Its groups: the channel's, and the one it gives the socket to.
    found = (users.group, management_group(context.plan.management))
    groups = tuple(number for number in found if number is not None)
    uid = users.control
    return Rights(uid, uid, groups, CONTROL, CONTROL_PROGRAMS, core_dumps=cores)

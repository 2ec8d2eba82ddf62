"""Every error code, what it means and what to do about it.

`ribcage help error CODE` and docs/errors.md say what stands here, and an error raised without a
hint of its own gets the second text as its hint (errors.py). What the message says stands where it
is raised; docs/errors.md lists those forms too. Tests hold the three together: no code without a
line here, no line without a code, and what a provoked error says is what the page says.
"""

CONFIG = {
    "E001": ("The file is not TOML.", "The caret stands where reading stopped; TOML writes key = value."),
    "E002": ("The file cannot be read, is no regular file, not UTF-8, or too large.", "Name another; large tables belong into `ribcage route load`."),
    "E100": ("A value breaks a rule that has no code of its own.", "Write a value that keeps to the rule."),
    "E101": ("A key nobody knows; the hint names the nearest.", "Unknown keys are errors, so that a misspelt one is not silently the default."),
    "E102": ("A value of the wrong type or form (a duration without unit, a mode without octal digits).", "Numbers stand bare (10); durations and modes are text (\"30s\", \"0600\")."),
    "E103": ("A word that is not one of those allowed.", "Take one of those listed."),
    "E104": ("A number, or a list's length, outside its limits.", "Take a value between both limits."),
    "E105": ("Something required is missing.", "Add it; docs/ribcage.toml shows how it is written."),
    "E106": ("Two interfaces have overlapping networks.", "Each network belongs to one link."),
    "E107": ("A prefix has host bits set below its length.", "Write the address of the network, such as 192.0.2.0/24."),
    "E108": ("The same thing is defined twice; the first place is shown too.", "Delete one, or give routes different metrics."),
    "E109": ("A CPU this machine does not have.", 'Leave `cpus` out, or count = "auto".'),
    "E110": ("Not an address or prefix as wanted here.", "Such as 192.0.2.1 or 2001:db8::1, with a length: 192.0.2.0/24."),
    "E111": ("A link-local next hop without its interface.", 'Add dev = "..." (command line: dev NAME).'),
    "E112": ("An address that cannot serve here: loopback, multicast, a network's own or broadcast address, ...", "Use the address of a host."),
    "E113": ("A next hop on no connected network.", "Take a host on a connected network; `ribcage route show` lists them."),
    "E114": ("A route names an interface the file does not have.", "Add the [[interface]], or correct the name."),
    "E115": ("Two settings contradict each other (families, via beside nexthops, ring sizes, users and workers).", "Both are named; change one."),
    "E116": ("Not a name as wanted here (an interface, an instance).", "1 to 15 characters for an interface, 1 to 32 for an instance; no slash, no blank."),
    "E117": ("A user or group this machine does not have.", "useradd or groupadd --system NAME."),
    "W201": ("A key that has no effect here.", "Delete the line."),
    "W202": ("A socket mode that lets every local user in, to look.", '"0660" with a group is usual.'),
    "W203": ("The event queue is larger than the kernel allows.", "sysctl -w kernel.msgmnb=... before the start."),
    "W204": ("This fib.sync gives wrong answers under change; a router not started with --teach refuses it.", "Write the default, or set teach = true in [router], or run --teach."),
    "W205": ("A word of an older version. It still works and means the new one.", "Write the new word."),
}  # fmt: skip

ASKED = {
    "E_ADDRESS": ("Not an address, or addresses of two families.", "Write one, such as 192.0.2.1 or 2001:db8::1."),
    "E_AMBIGUOUS": ("Several routes match what should be deleted.", "Say which: metric N."),
    "E_CHUNK": ("A piece of a table is too long or no text.", "Clients send whole lines, 48 KiB at most."),
    "E_CURSOR": ("A cursor that route.list did not give.", "Begin again without one."),
    "E_CUT": ("The last request has no end of line.", "Clients end each request with a newline."),
    "E_FAULT": ("A fault could not be injected.", "`ribcage ps` shows what the supervisor does."),
    "E_HOST_BITS": ("A prefix has host bits set below its length.", "Take the corrected prefix."),
    "E_INTERFACE": ("No port of that name.", "Name a port of the config file; rc-port is the host's side."),
    "E_LAB": ("No lab could be made, or the router in it did not start.", "`ribcage doctor` says what this machine can do."),
    "E_LOAD": ("A load of that number is not open: it ended, or was idle too long.", "Begin it again."),
    "E_METHOD": ("The router has no such method.", "Compare `ribcage version` of both builds."),
    "E_NEXTHOP": ("A next hop that cannot be one: not connected, own address, wrong family, no number of a --via.", "Take the address of a host on a connected network."),
    "E_NEXTHOPS": ("A list of next hops that does not hold together: too many, none, twice the same.", "Name 1 to 32 different next hops."),
    "E_NOT_FOUND": ("No such route to delete.", "`ribcage route show` lists what there is."),
    "E_NO_ROUTE": ("No route matches the address: packets to it are dropped as no-route.", "`ribcage route show`, `ribcage explain ADDRESS`."),
    "E_PARAMS": ("The parameters of a request are not an object.", "For writers of clients."),
    "E_PARSE": ("A request is not JSON.", "For writers of clients."),
    "E_OTHER_ROUTER": ("A reload with a file that names another router.", "Give it the other file, or change router.name in it."),
    "E_EMPTY_PLAN": ("A reload with a file without interface and route, for a router that has some.", "`ribcage reload --allow-empty`, if they are to go."),
    "E_RELOAD": ("A plan could not be put in force; the one before is in force again.", "Correct the file, then `ribcage reload`."),
    "E_CHECKPOINT": ("A checkpoint that cannot be written, or one that is damaged, of another router or of another build.", "Look at the disk and the folder; the router goes on without it."),
    "E_NO_CHECKPOINT": ("The router keeps no checkpoint.", "`checkpoint = true` in [rib], then start it again."),
    "E_PLAN": ("A plan that does not hold together.", "`ribcage config check FILE` says where."),
    "E_PREFIX": ("Not a prefix, or not a line of a table.", "ADDRESS/LENGTH; tables: `PREFIX/LEN NEXTHOP`."),
    "E_RANGE": ("A number outside its limits.", "Take one within them."),
    "E_REQUEST": ("A request without method or id.", "For writers of clients."),
    "E_SOURCE": ("The route belongs to another source (config file, link, neighbour).", "Static routes: edit the file, then `ribcage reload`."),
    "E_TABLE": ("A file is no routing table, or is damaged.", "Lines `PREFIX/LEN NEXTHOP`, plain, .gz or .xz."),
    "E_SYNC": ("What a lock of `fib.sync` needs is missing: a semaphore set, or words that cannot be formatted.", "`ipcs -s` lists the sets there are, kernel.sem limits them; restart the router."),
    "E_TEACH": ("Faults, and sync = \"none\", are for routers started with --teach.", "teach = true under [router], or run --teach."),
    "E_TOO_LARGE": ("A request or reply larger than a line may be.", "Ask for less; for plans use kill -HUP."),
    "E_TYPE": ("A word that is not one of those allowed.", "Take one of those listed."),
    "E_USAGE": ("A command line that cannot be obeyed.", "COMMAND --help shows what is understood."),
    "E_UPGRADE": ("An upgrade that cannot begin, or ended before all processes ran the new build.", "`ribcage ps --long` shows who runs what; upgrade again, or back with --to."),
    "E_WEIGHT": ("A weight outside its limits.", "Take one within them."),
}  # fmt: skip

LIMITS = {
    "E_ADJACENCIES": ("No room for more next hops.", "Delete routes whose next hops nobody needs."),
    "E_AGGREGATE": ("No memory for prefix aggregation in control.", "fib.aggregate = false, or more memory."),
    "E_BUSY": ("Too many loads are open.", "Commit or abort one."),
    "E_CANDIDATES": ("The prefix has as many routes as one may have.", "Delete one of them."),
    "E_DESCRIPTORS": ("The router has no file descriptor left for another client.", "Close clients; raise LimitNOFILE."),
    "E_LIMIT": ("As many routes of this source as it may have, or a table larger than can be made.", "Delete some, or lower the sizes."),
    "E_MEMORY": ("The packet rings would be larger than rings.max_memory.", "Raise it, or lower rings.slots."),
    "E_NOFILE": ("The hard limit of open files is below what workers and clients may need.", "ulimit -Hn, LimitNOFILE, or fewer of them."),
    "E_SHM_FULL": ("/dev/shm is too small for a segment.", "mount -o remount,size=... /dev/shm, or lower fib.max_routes4/6."),
    "E_SLOW": ("A client did not finish its request in time.", "Raise management.request_timeout, or send the request at once."),
    "E_TABLE_FULL": ("The routing or forwarding table is full; what was there is still in force.", "Raise fib.max_routes4 or 6 and start again."),
    "E_TOO_LONG": ("A request line is longer than management.max_line.", "Load tables with route load: it cuts them."),
    "E_TOO_MANY_CLIENTS": ("management.max_clients (or max_per_user) are connected.", "Close one, or raise it."),
}  # fmt: skip

AROUND = {
    "E_CONFIG": ("The configuration has errors; nothing was applied.", "The problems stand above it, and under `problems` with -j."),
    "E_GROUP": ("management.group does not exist or may not be given; or a next-hop group is too large.", "groupadd --system NAME, or run as a member."),
    "E_HUGE_PAGES": ("fib.huge_pages is require, and the kernel gave too few.", "fib.huge_pages = try, or free memory and start again."),
    "E_INSTANCE": ("Not an instance name; or a segment of another router.", "1 to 32 letters, digits, _ . -; or remove what another router left."),
    "E_INTERRUPTED": ("Ctrl-C or SIGTERM; the message says how far the command came.", "What was applied before stays."),
    "E_LOCKED": ("Another control process owns the tables.", "`ribcage ps`; stop that one first."),
    "E_LOG_FILE": ("The log file of a daemon cannot be opened.", "Another --log-file; without it, ribcage.log in the run directory."),
    "E_NOT_ALLOWED": ("The method needs more rights than this user has.", "Ask as root, or be named in management.operators or .admins of the config."),
    "E_NO_DAEMON": ("No router answers: none runs, or it has another name.", "`ribcage run`, or -i NAME."),
    "E_RESTARTING": ("Control died or hung, and its supervisor is bringing it back; packets go on meanwhile.", "Ask again; `ribcage ps --long` tells how the last one ended."),
    "E_OUTPUT": ("The answer could not be written: standard output is closed or full.", "Give it a place; what the command did is done."),
    "E_OWNER": ("A segment belongs to somebody else.", "Remove it if it is not in use."),
    "E_PERMISSION": ("A shared object may not be opened.", "Run as the user the router runs as."),
    "E_PORT": ("No packet socket for a port, or a port that cannot be.", "NET_RAW is needed; `ribcage doctor`."),
    "E_PRIVILEGE": ("The management socket may not be opened.", "As root, as the router's user, or in management.group."),
    "E_QUEUE": ("The event queue is not there any more.", "Somebody ran ipcrm, or logind did (RemoveIPC); start again."),
    "E_RIGHTS": ("The kernel refused to take rights away from a process.", "`ribcage doctor`; report it."),
    "E_RUNNING": ("A router of this name is already running.", "`ribcage stop`, or another --instance."),
    "E_RUN_DIR": ("The run directory cannot be made or is not safely ours.", "RIBCAGE_RUN_DIR = a directory you own."),
    "E_SOCKET": ("The management socket cannot be made there.", "A shorter RIBCAGE_RUN_DIR, or move away what stands there."),
    "E_START": ("A daemon did not start.", "Its own words stand above, or in the log file."),
    "E_SUPERVISOR": ("The supervisor is gone or does not answer; forwarding goes on.", "`ribcage run` again: it adopts the processes."),
    "E_TAKEN": ("A shared object of this name was made by another run directory.", "Another --instance, or remove the object."),
    "E_USERS": ("No uid of process.users is free for a process.", "A wider range; `ribcage doctor` lists who has them."),
    "E_TIMEOUT": ("No answer, or a state not reached, in time.", "`ribcage ps`; --timeout S waits longer."),
}  # fmt: skip

INSIDE = {
    "E_ABSENT": ("A segment is not there (yet).", "Control makes it again at the next start."),
    "E_ADJACENCY": ("An adjacency record that the FIB cannot take.", "Report it."),
    "E_ATTACH": ("A process was started with a message it cannot read.", "Two builds mixed: reinstall, start again."),
    "E_BUILDS": ("Two builds have no version of the channel in common; both are named.", "Upgrade over a build that speaks to both, or stop the router and start the new one."),
    "E_CHANNEL": ("The channel between supervisor and a child broke a rule.", "That child is replaced; the log has it."),
    "E_DAMAGED": ("The RIB segment does not hold together.", "Nothing: control makes it anew from the FIB and its sources, and keeps it aside."),
    "E_EXISTS": ("A segment to be made is there already.", "Remove that leftover."),
    "E_FIB": ("Control named a FIB that is not this instance's.", "Report it."),
    "E_FIB_BUSY": ("A lookup met a changing FIB too often, or did not get its lock in 10 ms.", "Try again: the writer publishes very fast, or much at once."),
    "E_FIB_CORRUPT": ("The content of the FIB segment is no FIB.", "Nothing: control builds another from the RIB, and keeps this one aside."),
    "E_ENGINE": ("The plan asks for a lookup engine this build does not have.", "docs/engines.md lists the words of fib.lookup4 and fib.lookup6."),
    "E_FIB_PARAMS": ("A FIB of these sizes cannot be made.", "Lower fib.max_routes4/6."),
    "E_HELLO": ("A process that said hello is not the one expected.", "It is left alone; the log says who it was."),
    "E_IMAGE": ("The state of a supervisor that another build cannot read.", "Nothing was changed; stop the router and start the new build."),
    "E_INITIALISING": ("A segment is half made: its maker died, or is at work.", "Try again; the next start removes it."),
    "E_INTERNAL": ("A bug.", "-v shows the traceback; the router's log has the same number."),
    "E_JOURNAL": ("More changes are unpublished than the journal holds.", "Control compares the tables whole."),
    "E_KIND": ("This build knows no segments of that kind.", "Two builds mixed: reinstall."),
    "E_LAYOUT": ("A segment of another layout: both sides are shown.", "`ribcage version --layouts`; stop the router, start the new build."),
    "E_MAP": ("A segment cannot be mapped; the message says why.", "More memory, or a higher `ulimit -v`."),
    "E_OPEN": ("Something that is no segment has the name of one.", "Move it away; `ls -l /dev/shm` shows it."),
    "E_MAC": ("Not a MAC address.", "Six pairs of hex digits."),
    "E_NAMES": ("Instance names that a message brought cannot be.", "Report it."),
    "E_PROTOCOL": ("An answer that is none.", "Compare `ribcage version` of both builds."),
    "E_ROW": ("A table refused a row as invalid.", "Report it with the row."),
    "E_SIGNALFD": ("The kernel refused a signalfd.", "Out of descriptors: raise LimitNOFILE."),
    "E_STALE": ("A source spoke of a generation that is over.", "The source begins again."),
    "E_STATS": ("A stats object is not one.", "It is made again at the next start."),
    "E_WORKER_ODD": ("A worker's counters say what cannot be true; it is not believed.", "`kill` that worker: its successor begins anew. If it happens again, keep the log."),
    "E_STATS_BUSY": ("A stats object changed during every copy.", "Try again."),
    "E_THREADS": ("The supervisor was about to fork with threads.", "Report it."),
    "E_UNKNOWN": ("An error without a code came from the other side.", "Compare `ribcage version` of both builds."),
    "E_WORKER": ("A worker could not start.", "The supervisor tries again; the log has the reason."),
    "E_WRITER_BUSY": ("The writer's semaphore was not free although this control owns the tables.", "Some other program took it: fuser names it."),
}  # fmt: skip

GROUPS = {
    "Configuration files": CONFIG,
    "What was asked": ASKED,
    "Limits": LIMITS,
    "Machine, rights, other routers": AROUND,
    "Between the router's own processes": INSIDE,
}
CODES = {code: text for group in GROUPS.values() for code, text in group.items()}


def remedy(code: str) -> str | None:
    """What to do about it, as a hint behind a message; None for a code of somebody else's build."""
    if code not in CODES:
        return None
    text = CODES[code][1].rstrip(".")
    return text if text[:2].isupper() else text[:1].lower() + text[1:]

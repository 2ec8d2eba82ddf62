"""What other administrators change in the kernel: filters, settings, routes, rules, the host pair.

Each is something the router made or needs, so each is watched: it has to come back by itself. The
tool puts it back when it does not, and says so (`unhealed`).
"""

from collections.abc import Callable, Sequence

from ribcage.lab.chaos.kinds.kind import Kind, Scene, Skipped


def _read(scene: Scene, command: Sequence[str]) -> Callable[[], str]:
    """Counters and handles differ each time: they are left out."""
    return lambda: "\n".join(
        line.rstrip() for line in scene.rig.r1.run(command).stdout.splitlines() if line.strip()
    )


def _filter(scene: Scene) -> None:
    read = _read(scene, ["nft", "--stateless", "list", "ruleset"])
    saved = read()
    if not saved:
        raise Skipped("there is no packet filter")
    r1 = scene.rig.r1
    scene.watch("packet filter", read, lambda: _ignore(r1.run(["nft", "-f", "-"], input=saved)))
    scene.begins("nft flush ruleset")
    r1.run(["nft", "flush", "ruleset"], check=True)


def _setting(name: str, value: int) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        full = name.replace("PORT", scene.port())
        path = f"/proc/sys/net/{full}"
        read = _read(scene, ["cat", path])
        before, wanted = read(), str(value)
        if before == wanted:
            wanted = str(1 - value)
        scene.watch(full, read, lambda: scene.rig.r1.sysctl(before, f"net/{full}"))
        # Whoever finds a value that somebody set meanwhile may take it for the one to leave behind.
        scene.rig.disturbed |= {"forwarding", "ip_forward", "anycast fe80::", name.split("/")[-1]}
        scene.begins(f"{full}={wanted}")
        scene.rig.r1.sysctl(wanted, f"net/{full}")

    return play


def _default(family: str) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        read = _read(scene, ["ip", family, "route", "show", "default"])
        saved = read().splitlines()
        if not saved:
            raise Skipped("there is no default route")
        r1 = scene.rig.r1

        def restore() -> None:
            for line in saved:
                r1.run(["ip", family, "route", "replace", *line.split()])

        scene.watch("default route", read, restore)
        scene.begins(saved[0])
        for _ in saved:
            r1.run(["ip", family, "route", "del", "default"])

    return play


def _rules(scene: Scene) -> None:
    read = _read(scene, ["ip", "rule", "show"])
    own = [
        line for line in read().splitlines() if line.split(":")[0] not in ("0", "32766", "32767")
    ]
    if not own:
        raise Skipped("the router has no rule")
    scene.watch("ip rules", read, lambda: None)
    scene.begins(own[0])
    scene.rig.r1.run(["ip", "rule", "del", "pref", own[0].split(":")[0]])


def _pair(scene: Scene) -> None:
    read = _read(scene, ["sh", "-c", "ls /proc/sys/net/ipv4/conf | grep ^rc-"])
    names = read().split()
    if not names:
        raise Skipped("there is no rc-host")
    scene.watch("rc-host", read, lambda: None)
    scene.begins(names[0])
    scene.rig.r1.run(["ip", "link", "del", names[0]], check=True)


def _burst(scene: Scene) -> None:
    """More changes at once than a netlink socket's buffer holds: the kernel says ENOBUFS."""
    port = scene.port()
    count = scene.random.randint(1000, 3000)
    addresses = [f"10.88.{n // 250}.{n % 250 + 1}/32" for n in range(200)]
    adds = [f"route add blackhole 172.20.{n // 250}.{n % 250}/32 table 77" for n in range(count)]
    scene.begins(f"{count} routes, {len(addresses)} addresses on {port}")
    r1 = scene.rig.r1
    r1.ip(*adds, *(f"addr add {address} dev {port}" for address in addresses))
    r1.ip("route flush table 77", *(f"addr del {address} dev {port}" for address in addresses))


def _ignore(_: object) -> None:
    return None


PUT_BACK = "noticed, put back, told in the log"
UNWATCHED = "what others change here is not watched yet"
KINDS = [
    Kind("filter-flush", "nft flush ruleset", PUT_BACK, _filter, later=UNWATCHED),
    Kind("ip-forward", "net.ipv4.ip_forward is set to 1", PUT_BACK, _setting("ipv4/ip_forward", 1)),
    Kind("forwarding6", "net.ipv6.conf.all.forwarding is set to 1", PUT_BACK, _setting("ipv6/conf/all/forwarding", 1)),
    Kind("port-forwarding", "forwarding of one port is changed", PUT_BACK, _setting("ipv4/conf/PORT/forwarding", 1)),
    Kind("rp-filter", "rp_filter of one port is set to 1", PUT_BACK, _setting("ipv4/conf/PORT/rp_filter", 1), later=UNWATCHED),
    Kind("default-route-del", "the kernel's default route to rc-host is deleted", PUT_BACK, _default("-4"), later=UNWATCHED),
    Kind("default-route6-del", "the same, IPv6", PUT_BACK, _default("-6"), later=UNWATCHED),
    Kind("rule-del", "a routing rule of the router's is deleted", PUT_BACK, _rules),
    Kind("rc-host-del", "the veth pair to the host stack is deleted", PUT_BACK, _pair),
    Kind("netlink-burst", "thousands of kernel routes and addresses come and go at once", "links and addresses are read anew", _burst),
]  # fmt: skip

"""What a router might answer: the canned replies that the tests of the command line share."""

ROUTES = [
    {"dst": "0.0.0.0/0", "protocol": "static", "distance": 1, "metric": 10, "type": "forward",
     "nexthops": [{"via": "10.0.2.254", "dev": "eth2", "weight": 1}], "selected": True,
     "in_fib": True, "stale": False, "workers": {"seen": 2, "of": 2}},
    {"dst": "10.0.1.0/24", "protocol": "connected", "distance": 0, "metric": 0, "type": "forward",
     "nexthops": [{"via": None, "dev": "eth1", "weight": 1}], "selected": True, "in_fib": True,
     "stale": False, "workers": {"seen": 2, "of": 2}},
    {"dst": "198.51.100.0/24", "protocol": "static", "metric": 0, "type": "forward",
     "nexthops": [{"via": "10.0.2.10", "weight": 2}, {"via": "10.0.2.11", "weight": 1}],
     "selected": True, "in_fib": True, "stale": True, "workers": {"seen": 2, "of": 2}},
    {"dst": "203.0.113.0/24", "protocol": "added", "metric": 0, "type": "blackhole",
     "nexthops": [], "selected": True, "in_fib": True, "workers": {"seen": 1, "of": 2}},
    {"dst": "192.0.2.0/24", "protocol": "kernel", "metric": 0, "type": "forward",
     "nexthops": [{"via": "10.9.9.9"}], "selected": False, "in_fib": False},
]  # fmt: skip
CHANGE = {"generation": 43, "update_id": 9, "published_us": 12, "visible_us": 38.4,
          "workers": {"seen": 2, "of": 2}, "stamps": {"t0": 1}}  # fmt: skip
PROCESSES = {"processes": [
    {"role": "supervisor", "index": 0, "pid": 2100, "uid": 0, "caps": ["NET_ADMIN", "NET_RAW"],
     "seccomp": "none", "state": "ready", "restarts": 0, "rss_kb": 18432, "fds": 40,
     "started_ns": 1, "last_exit": None, "cpu": 1.25, "letter": "S", "maps": [],
     "if_it_dies": "all go on"},
    {"role": "worker", "index": 1, "pid": 2105, "uid": 61003, "caps": "", "seccomp": "none",
     "state": "ready", "restarts": 2, "rss_kb": 9216, "fds": 9, "cpu": None, "letter": None,
     "last_exit": "killed by signal 9 (SIGKILL)",
     "maps": [{"object": "/ribcage.r1.fib", "perms": "r-"}], "if_it_dies": "its flows wait"},
]}  # fmt: skip
DROPS = {
    "reasons": [
        {"reason": "rx-ring-full", "total": 31, "per_worker": [0, 31], "example": None},
        {"reason": "no-route", "total": 240, "per_worker": [118, 122],
         "example": "10.0.1.2 > 192.0.2.77"},
    ],
    "balance": {"rx": 1204411, "forwarded": 1204140, "delivered": 0, "dropped": 271, "held": 0,
                "balanced": True},
}  # fmt: skip
WORKER = {"rx": 10, "forwarded": 7, "delivered": 1, "drops": {"no-route": 2}, "held": 0}
STATS = {"workers": [{"worker": 0, "generation": 43, **WORKER}], "totals": WORKER,
         "balanced": True,
         "ports": [{"name": "eth1", "up": True, "rx": 10, "rx_bytes": 900, "tx": 7,
                    "tx_bytes": 600, "ring_drops": 0}]}  # fmt: skip
FOUND = {"dst": "198.51.100.7", "prefix": "198.51.100.0/24", "type": "forward",
         "gateway": "10.0.2.11", "dev": "eth2", "source": "10.0.1.1", "generation": 42,
         "ecmp": {"index": 0, "of": 2}, "hash": 0x5C,
         "workers": [{"worker": 0, "generation": 42, "same": True},
                     {"worker": 1, "generation": 38, "same": False}]}  # fmt: skip
EXPLAINED = {"stages": [{"stage": "parse", "verdict": "ok", "detail": "IPv4, 28 bytes"},
                        {"stage": "ttl", "verdict": "drop", "detail": "ttl 1 would become 0"}],
             "verdict": "drop", "reason": "ttl-expired",
             "icmp": "time-exceeded to 10.0.1.2"}  # fmt: skip
VERIFIED = {"rib": 5, "fib4": 4, "fib6": 1, "differences": [], "count": 0, "seconds": 0.5}
DIFFERENT = {**VERIFIED, "count": 1,
             "differences": [{"prefix": "198.51.100.0/24", "rib": "10.0.2.10",
                              "fib": None}]}  # fmt: skip
FIB = {
    "geometry": {"max_routes4": 1_200_000, "max_routes6": 1000, "max_groups": 32768,
                 "max_adjacencies": 16384},
    "published": {"generation": 43, "routes4": 1000, "routes6": 1, "groups": 1, "adjacencies": 2},
    "memory": {"segment": 2 << 30, "live": 6 << 20, "retired": 256, "free": 1 << 30,
               "retired_most": 42_598_400},
    "strategy": "epoch", "engines": {"ipv4": "compact", "ipv6": "interval"},
    "segment": "/ribcage.r1.fib",
    "rib": {"rows": 1003, "max_rows": 5000, "segment_bytes": 7 << 20, "private_bytes": 1024},
    "publisher": {"publishes": 100, "refused": 0,
                  "publish_ns": [0] * 10 + [98, 0, 2] + [0] * 27},
}  # fmt: skip
FIB_TEXT = """\
generation 43   strategy epoch   segment /ribcage.r1.fib

FAMILY  ENGINE    ROUTES      LIMIT   USED
IPv4    compact    1,000  1,200,000  0.1 %
IPv6    interval       1      1,000  0.1 %

next hops  1 next-hop group of 32,768   2 adjacencies of 16,384
memory     live 6.0 MiB  retired 256 B  free 1.0 GiB  segment 2.0 GiB
RIB        1,003 rows of 5,000   segment 7.0 MiB
published  100 times since control started   p50 <= 2.05 us   p99 <= 8.19 us
"""

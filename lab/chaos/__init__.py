"""Random faults of every kind in a lab, under numbered traffic and churn, judged by an oracle.

`ribcage lab chaos`, `make chaos`, `make soak`. `plan.py` is the network, the flows and the
prefixes; `rig.py` builds it with a router inside. `churn.py` changes routes in a process of its
own, `oracle.py` says where a packet may go, `ledger.py` judges each packet by it. `kinds/` has the
faults, `engine.py` draws and times them, `chaos.py` is one run, `report.py` tells it.
No verdict comes from the tool's own sleeps: packets and acknowledgements have times of their own.
Begin with chaos.py.
"""

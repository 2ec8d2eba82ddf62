"""What every test may rely on, however the suite was started.

Hypothesis draws the same examples in every run, without a time limit an example: a pause of the
machine, or an example that nobody has seen before, is no fault of the change that is being
tested. `make torture` is where new examples are looked for: there each run draws its own.
"""

import os
import signal

from hypothesis import HealthCheck, settings

# The suite's own parts; each says in its first line what it is for.
pytest_plugins = [
    "tests.suite.processes",
    "tests.suite.again",
    "tests.suite.compiling",
    "tests.suite.tally",
    "tests.suite.reach",
]

# A shell that starts the suite in the background has it ignore SIGINT, and so would each command
# that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Before any test module is read: each `@settings` of theirs takes from here what it does not say.
# too_slow measures the machine: it fails a test when drawing examples takes longer than a second.
settings.register_profile(
    "ribcage",
    deadline=None,
    derandomize=int(os.environ.get("RIBCAGE_TORTURE", "1")) <= 1,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ribcage")

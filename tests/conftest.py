"""What every test may rely on, however the suite was started."""

import signal

# A shell that starts the suite in the background has it ignore SIGINT, and so would each command
# that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

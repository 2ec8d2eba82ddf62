"""The processes that forget: forked workers. Imports shared alone."""

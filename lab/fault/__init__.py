"""One fault in a running router, and what was seen to follow: for lessons, and for the curious.

`kinds.py` has what can be done to whom, `watcher.py` looks at processes, counters and answers while
it happens, `story.py` makes sentences of what it saw. Nothing is told that was not observed.
Begin with kinds.py.
"""

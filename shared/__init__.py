"""What both planes agree on: names, segments, channel, events, stats, errors. Imports neither."""

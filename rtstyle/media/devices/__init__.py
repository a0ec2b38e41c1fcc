"""Sources and sinks that run in real time: cameras, streams, screens, windows."""

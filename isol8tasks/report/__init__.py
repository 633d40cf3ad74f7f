"""Subscribers to the events of a run: consoles, logs, report files. No display knows an engine."""

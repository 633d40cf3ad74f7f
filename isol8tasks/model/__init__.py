"""Frozen values: what a task file declares and what a run reports. No I/O."""

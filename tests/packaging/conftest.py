"""What is in elsewhere/ has its own tests: the session `packaging` runs them with our wheel."""

collect_ignore = ["elsewhere"]

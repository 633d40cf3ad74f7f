"""What a run reads and keeps: input trees, logs and artifacts."""

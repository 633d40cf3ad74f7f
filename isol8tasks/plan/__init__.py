"""From declared stages to a checked, ordered plan. Pure: no I/O."""

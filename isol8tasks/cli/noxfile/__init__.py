"""From a noxfile to a task file: the noxfile is read and never executed."""

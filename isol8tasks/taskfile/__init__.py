"""The words of a task file, and running one."""

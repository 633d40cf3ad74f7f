"""Running a plan: what may start now, one try of one stage, budgets and cancellation."""

"""The embedded backend: sandboxes by bubblewrap, from root or as an ordinary user, no daemon."""

from isol8tasks_bubblewrap.backend import Bubblewrap

__all__ = ["Bubblewrap"]

"""Backends by entry point."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from isol8tasks.backend.contract import Backend, BackendFactory, BackendOptions
from isol8tasks.errors import BackendUnavailable

GROUP = "isol8tasks.backends"

PREFERENCE = ("bubblewrap", "docker", "podman")
"""The order in which a backend is chosen; others follow by name."""


def installed() -> tuple[str, ...]:
    """The names of all installed backends, the preferred first."""
    names = {entry.name for entry in entry_points(group=GROUP)}
    known = [name for name in PREFERENCE if name in names]
    return (*known, *sorted(names.difference(PREFERENCE)))


def load(name: str, options: BackendOptions) -> Backend:
    """Import and build a backend; BackendUnavailable when there is none of that name."""
    entries = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not entries:
        raise unknown(name)
    return _build(entries[0], options)


def unknown(name: str, *, meant: str = "") -> BackendUnavailable:
    """The error for a name that no backend has; `meant` ends its sentence."""
    have = ", ".join(installed()) or "none"
    return BackendUnavailable(
        f"there is no backend named {name!r}{meant}",
        hint=f"installed: {have}; a backend is a package that registers under '{GROUP}'",
    )


def _build(entry: EntryPoint, options: BackendOptions) -> Backend:
    try:
        factory: BackendFactory = entry.load()
        return factory(options)
    except ImportError as error:
        raise BackendUnavailable(
            f"{entry.name} cannot be imported: {error}",
            hint="reinstall isol8tasks or the package that brings this backend",
        ) from error

"""The first process of a container that runs far: it keeps the container, and tells of it.

It ends with its standard input, and so with us: then nothing goes on running there. Its uid is not
the program's, which can neither signal it nor answer in its place.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

import attrs

from isol8tasks.backend.contract import Stream
from isol8tasks_oci.client import Channel, EngineError

_GRACE = 10.0
"""Seconds for an answer that takes a millisecond."""
_MOST_LINES, _LONGEST_LINE = 1000, 4096
"""Of an answer, which has some fifty short ones: the image's shell may be anything."""

_GROUP = "/sys/fs/cgroup"
_FILES = (
    *("memory/memory.limit_in_bytes", "memory/memory.max_usage_in_bytes"),
    *("memory/memory.oom_control", "cpuacct/cpuacct.usage", "pids/pids.current"),
    *("memory.max", "memory.peak", "memory.events", "cpu.stat", "pids.current"),
)
"""Of control groups in version 1, and in version 2."""

SCRIPT = f"""\
while read -r word; do
  if [ "$word" = space ]; then
    stat -f -c 'space %b %f %c %d' /sandbox /tmp /dev/shm
  else
    for file in {" ".join(_FILES)}; do
      [ -r {_GROUP}/$file ] && while read -r line; do
        echo "${{file##*/}} $line"
      done <{_GROUP}/$file
    done
  fi
  echo .
done 2>/dev/null
"""
"""For sh. `used` needs no process of its own: where no more may start, a shell gives up."""

_PAGE = 4096
OWN_PROCESSES = 2
"""The container's init and the holder."""


@attrs.frozen(kw_only=True)
class Used:
    """What all processes used so far, None where that cannot be told; `processes` are there now."""

    oom_killed: bool | None = None
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None
    processes: int | None = None


class Holder:
    """Our side of it. `memory` is the container's limit, by which it knows its control group."""

    def __init__(self, channel: Channel, *, memory: int | None) -> None:
        self._channel = channel
        self._memory = memory
        self._lines = _lines(channel)

    def used(self) -> Used | None:
        """What the kernel counted; None when the container is gone."""
        said = self._ask("used")
        return None if said is None else used(said, self._memory)

    def full(self) -> bool:
        """Whether one of the sized folders has no block or no inode left; False if unknown."""
        return any(map(full, self._ask("space") or ()))

    def _ask(self, word: str) -> list[list[str]] | None:
        said: list[list[str]] = []
        timer = threading.Timer(_GRACE, self._channel.close)
        timer.start()
        try:
            self._channel.send(f"{word}\n".encode())
            for line in self._lines:
                if line == ".":
                    return said
                if len(said) == _MOST_LINES:
                    raise EngineError("the holder says more than it was asked for")
                said.append(line.split())
        except (EngineError, OSError):
            return None
        finally:
            timer.cancel()
        return None


def _lines(channel: Channel) -> Iterator[str]:
    left = b""
    for stream, piece in channel.pieces():
        if stream is Stream.STDOUT:
            *lines, left = (left + piece).split(b"\n")
            if max(map(len, (*lines, left))) > _LONGEST_LINE:
                raise EngineError("the holder says more than it was asked for")
            yield from (line.decode(errors="replace") for line in lines)


def full(space: list[str]) -> bool:
    """Whether no block or no inode is left, from its numbers of all and of free ones."""
    match space:
        case ["space", blocks, free_blocks, inodes, free_inodes]:
            return "0" in {
                free_blocks if blocks != "0" else "",
                free_inodes if inodes != "0" else "",
            }
    return False


def used(said: Iterable[list[str]], memory: int | None) -> Used:
    """What the files say, if they are those of the container's own group.

    Engines that make none for it show the group of somebody else, which has another limit.
    """
    values = {words[-2]: words[-1] for words in said if len(words) > 1}

    def number(*names: str) -> int | None:
        found = (values[name] for name in names if values.get(name, "").isdigit())
        return next((int(text) for text in found), None)

    limit = number("memory.max", "memory.limit_in_bytes")
    if memory is None or limit is None or limit // _PAGE != memory // _PAGE:
        return Used()
    killed, nanoseconds, usec = number("oom_kill"), number("cpuacct.usage"), number("usage_usec")
    seconds = nanoseconds / 1e9 if nanoseconds is not None else None
    return Used(
        oom_killed=None if killed is None else killed > 0,
        peak_memory_bytes=number("memory.peak", "memory.max_usage_in_bytes"),
        cpu_seconds=seconds if usec is None else usec / 1e6,
        processes=number("pids.current"),
    )

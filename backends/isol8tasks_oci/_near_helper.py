"""The process that works on sandboxes' places among a rootless engine's mounts. Run as a module.

Requests are lines of JSON on standard input, each answered by one line on standard output; the
contents of files follow a request, each in pieces with their length in front and an empty one at
the end. When the other side is gone, all places are let go.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self, cast

from isol8tasks.backend.contract import EntryKind, OutputRefused, TreeEntry
from isol8tasks_oci.places import OwnPlaces

LENGTH = struct.Struct(">I")


class _Content:
    """One file of the stream, as something to read from."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = 0
        self._ended = False

    def read(self, size: int) -> bytes:
        while not self._left and not self._ended:
            (self._left,) = LENGTH.unpack(self._stream.read(LENGTH.size))
            self._ended = not self._left
        if self._ended:
            return b""
        piece = self._stream.read(min(size, self._left))
        self._left -= len(piece)
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self.read(1 << 16):
            pass


class _Tree:
    """The tree of a request; contents come in the same order, and are read to the end."""

    def __init__(self, described: list[dict[str, Any]], stream: IO[bytes]) -> None:
        self._described = described
        self._stream = stream
        self._left = sum(each["kind"] == EntryKind.FILE for each in described)

    def __iter__(self) -> Iterator[TreeEntry]:
        for each in self._described:
            kind = EntryKind(each["kind"])
            yield TreeEntry(
                path=each["path"],
                kind=kind,
                executable=each["executable"],
                target=each["target"],
                source=self._next if kind is EntryKind.FILE else None,
            )

    def _next(self) -> IO[bytes]:
        self._left -= 1
        return cast("IO[bytes]", _Content(self._stream))

    def finish(self) -> None:
        """Pass over what nobody read."""
        while self._left:
            with self._next():
                pass


class Helper:
    """Answers requests."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._places = OwnPlaces()
        self._made: set[Path] = set()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked."""
        folder = Path(request["folder"])
        match request["do"]:
            case "make":
                self._made.add(folder)
                self._places.make(
                    folder, uid=request["uid"], size=request["size"], workdir=request["workdir"]
                )
            case "put":
                tree = _Tree(request["tree"], self._stream)
                try:
                    self._places.put(folder, tree, uid=request["uid"])
                finally:
                    tree.finish()
            case "fetch":
                return self._fetch(folder, request)
            case "full":
                return {"full": self._places.full(folder)}
            case "unmake":
                self._places.unmake(folder)
                self._made.discard(folder)
        return {}

    def _fetch(self, folder: Path, request: dict[str, Any]) -> dict[str, Any]:
        try:
            found = self._places.fetch(
                folder,
                request["workdir"],
                tuple(request["globs"]),
                Path(request["into"]),
                max_bytes=request["max_bytes"],
            )
        except OutputRefused as refusal:
            return {"refused": str(refusal)}
        return {"paths": found.paths, "unmatched": found.unmatched}

    def close(self) -> None:
        """Let go of everything."""
        for folder in self._made:
            self._places.unmake(folder)


def main() -> None:
    """Serve until the other side is gone."""
    os.chdir("/")
    helper = Helper(sys.stdin.buffer)
    try:
        while line := sys.stdin.buffer.readline():
            request = json.loads(line)
            try:
                reply = helper.answer(request)
            except OSError as error:
                reply = {"error": error.strerror or str(error), "errno": error.errno}
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()
    finally:
        helper.close()


if __name__ == "__main__":
    main()

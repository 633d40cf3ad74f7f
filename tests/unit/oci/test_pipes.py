"""Streams over real FIFOs, to real processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import pytest
from isol8tasks_oci.pipes import Pipes

from isol8tasks.backend.contract import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


@attrs.define
class Bench:
    """FIFOs, the processes at their other ends, and what they said."""

    pipes: Pipes
    running: list[subprocess.Popen[bytes]] = attrs.field(factory=list)
    ends: list[int] = attrs.field(factory=list)
    said: dict[Stream, bytearray] = attrs.field(
        factory=lambda: {each: bytearray() for each in Stream}
    )

    def start(self, text: str) -> int:
        """Start a shell with its streams at the FIFOs, as the waiting one has; a handle on it."""
        folder = self.pipes.folder
        opened = f"exec <{folder}/command >{folder}/stdout 2>{folder}/stderr\n{text}"
        self.running.append(subprocess.Popen(["sh", "-c", opened], start_new_session=True))
        self.ends.append(os.pidfd_open(self.running[-1].pid))
        return self.ends[-1]

    def sink(self, stream: Stream, piece: bytes) -> None:
        self.said[stream].extend(piece)

    def greeted(self, text: str) -> int:
        end = self.start(f"echo\n{text}")
        assert self.pipes.greeted(end)
        return end

    def pump(self, text: str, command: bytes = b"") -> int:
        self.pipes.pump(command, self.sink, self.greeted(text))
        return self.running[-1].wait(10)

    def close(self) -> None:
        for process, end in zip(self.running, self.ends, strict=True):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(end)
        self.pipes.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(Pipes(tmp_path / "pipes"))
    yield bench
    bench.close()


def test_the_fifos_are_for_any_uid_that_gets_this_far(bench: Bench) -> None:
    folder = bench.pipes.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    modes = {path.name: path.stat().st_mode for path in folder.iterdir()}
    assert modes == dict.fromkeys(("command", "stdout", "stderr"), stat.S_IFIFO | 0o666)


def test_our_ends_are_not_for_children(bench: Bench) -> None:
    ours = [f for f in os.listdir("/proc/self/fd") if _names(f).startswith(str(bench.pipes.folder))]
    assert len(ours) == 3
    assert not any(os.get_inheritable(int(file)) for file in ours)


def _names(file: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{file}")
    except OSError:
        return ""


def test_closing_leaves_nothing_open_and_may_be_repeated(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    pipes = Pipes(tmp_path / "pipes")
    pipes.close()
    pipes.close()
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("text", "greeted"),
    [("echo; sleep 10", True), ("echo hello; sleep 10", False), ("exit 1", False)],
    ids=["an empty line", "a word", "an end"],
)
def test_greeted(bench: Bench, text: str, greeted: bool) -> None:
    assert bench.pipes.greeted(bench.start(text)) is greeted


def test_greeted_by_nobody(bench: Bench) -> None:
    process = subprocess.Popen(["sleep", "0.1"])
    end = os.pidfd_open(process.pid)
    assert not bench.pipes.greeted(end)
    os.close(end)
    process.wait()


def test_a_greeting_is_not_output(bench: Bench) -> None:
    bench.pump("echo more")
    assert bench.said[Stream.STDOUT] == b"more\n"


@pytest.mark.parametrize("size", [0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, MIB, 5 * MIB])
def test_what_goes_in_comes_out(bench: Bench, size: int) -> None:
    content = os.urandom(size)
    assert bench.pump("exec cat", content) == 0
    assert bench.said == {Stream.STDOUT: content, Stream.STDERR: b""}


def test_floods_on_both_streams_come_whole(bench: Bench) -> None:
    bench.pump(f"head -c {3 * MIB} /dev/zero & head -c {2 * MIB} /dev/zero >&2; wait")
    assert [len(bench.said[stream]) for stream in Stream] == [3 * MIB, 2 * MIB]


def test_what_was_printed_last_is_not_lost(bench: Bench) -> None:
    """More than one read, left in the FIFO when the process is gone."""
    bench.pump("head -c 65536 /dev/zero; head -c 65536 /dev/zero >&2; kill -9 $$")
    assert [len(bench.said[stream]) for stream in Stream] == [1 << 16, 1 << 16]


def test_a_process_that_outlives_the_end_says_no_more(bench: Bench) -> None:
    """In a container there is none: they all end with the first."""
    bench.pump("(sleep 0.5; echo late; sleep 60) & echo early; exit 0")
    assert bench.said[Stream.STDOUT] == b"early\n"


@pytest.mark.parametrize("closed", ["exec >&-", "exec 2>&-", "exec >&- 2>&-", "exec <&- >&- 2>&-"])
def test_a_closed_stream_is_no_end(bench: Bench, closed: str) -> None:
    start = time.monotonic()
    assert bench.pump(f"{closed}; sleep 0.3; exit 4", b"x" * MIB) == 4
    assert time.monotonic() - start >= 0.3


def test_a_closed_stream_costs_no_time_of_ours(bench: Bench) -> None:
    before = time.process_time()
    bench.pump("exec <&- >&- 2>&-; sleep 1", b"x" * MIB)
    assert time.process_time() - before < 0.5


def test_input_that_is_not_read_costs_no_time_of_ours(bench: Bench) -> None:
    before = time.process_time()
    bench.pump("sleep 1", b"x" * MIB)
    assert time.process_time() - before < 0.5


def test_the_sink_may_end_the_process(bench: Bench) -> None:
    end = bench.greeted("exec cat /dev/zero")
    seen = 0

    def sink(_stream: Stream, piece: bytes) -> None:
        nonlocal seen
        seen += len(piece)
        if seen > MIB:
            signal.pidfd_send_signal(end, signal.SIGKILL)

    bench.pipes.pump(b"", sink, end)
    assert MIB < seen < 3 * MIB, "what was on the way is bounded by the FIFO"


def test_a_sink_that_fails_stops_us_and_nothing_else(bench: Bench) -> None:
    def sink(_stream: Stream, _piece: bytes) -> None:
        raise RuntimeError("full")

    end = bench.greeted("echo a; exec sleep 60")
    with pytest.raises(RuntimeError, match="full"):
        bench.pipes.pump(b"", sink, end)
    assert bench.running[-1].poll() is None


def test_killing_from_another_thread_ends_the_pump(bench: Bench) -> None:
    end = bench.greeted("exec sleep 60")
    threading.Timer(0.2, signal.pidfd_send_signal, (end, signal.SIGKILL)).start()
    start = time.monotonic()
    bench.pipes.pump(b"", bench.sink, end)
    assert time.monotonic() - start < 10


STOLEN = """exec timeout -s KILL 10 sh -c '
timeout 1 cat </dev/stdout >/dev/null &
i=0; while [ $i -lt 20000 ]; do echo x; i=$((i + 1)); done; sleep 1; echo last'
"""


def test_a_program_that_reads_its_own_output_does_not_silence_itself(bench: Bench) -> None:
    """What it takes from there is its own business; what it prints later is not."""
    bench.pump(STOLEN)
    assert bench.said[Stream.STDOUT].endswith(b"last\n")


def test_what_is_given_is_a_file_that_others_can_read(bench: Bench) -> None:
    bench.pipes.give(b"hello\0")
    file = bench.pipes.folder / "input"
    assert file.read_bytes() == b"hello\0"
    assert file.stat().st_mode == stat.S_IFREG | 0o444

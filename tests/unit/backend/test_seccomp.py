"""The rendered filters against the source, in a BPF interpreter and in libseccomp's own words."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import json
import os
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isol8tasks.backend import seccomp
from isol8tasks.backend.numbers import NUMBERS, Architecture
from isol8tasks.backend.seccomp import host_filter, to_bpf, to_json
from isol8tasks.backend.syscalls import FILTER, Answer, Case, Condition, Filter, Rule
from isol8tasks.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator

AUDIT = {Architecture.X86_64: 0xC000003E, Architecture.AARCH64: 0xC00000B7}
I386 = 0x40000003
RETURNS = {
    Answer.ALLOW: 0x7FFF0000,
    Answer.KILL: 0x80000000,
    Answer.EPERM: 0x00050001,
    Answer.ENOSYS: 0x00050026,
    Answer.EAFNOSUPPORT: 0x00050061,
    Answer.EOPNOTSUPP: 0x0005005F,
}
ANSWERS = {value: answer for answer, value in RETURNS.items()}
LIBSECCOMP = ctypes.util.find_library("seccomp")


def interpret(program: bytes, nr: int, arch: int, arguments: tuple[int, ...]) -> tuple[int, int]:
    """What a program returns, and how many comparisons it made."""
    words = [argument & (1 << 64) - 1 for argument in arguments]
    seen = struct.pack("<IIQ6Q", nr & 0xFFFFFFFF, arch, 0, *words)
    code = list(struct.iter_unpack("<HBBI", program))
    at = accumulator = compared = 0
    while True:
        operation, if_true, if_false, k = code[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = int.from_bytes(seen[k : k + 4], "little")
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x15 | 0x35 | 0x25 | 0x45:
                holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x25: accumulator > k}
                at += if_true if holds.get(operation, bool(accumulator & k)) else if_false
                compared += 1
            case 0x06:
                return k, compared
            case _:
                raise AssertionError(hex(operation))


@functools.cache
def rendered(architecture: Architecture) -> bytes:
    return to_bpf(FILTER, architecture)


def expected(architecture: Architecture, nr: int, arguments: tuple[int, ...]) -> Answer:
    """The reference: by name, or unknown; x32's bit kills, but -1 is only a missing call."""
    if architecture is Architecture.X86_64 and nr >= 1 << 30 and nr != 0xFFFFFFFF:
        return Answer.KILL
    names = {number: call for call, number in NUMBERS[architecture].items()}
    return FILTER.answer(names.get(nr, "none"), arguments)


LOOKED_AT = sorted({c.value for rule in FILTER.rules for case in rule.cases for c in case.when})
words = (
    st.sampled_from([*LOOKED_AT, 40, 17, 0x11, 0x3D0F00, 0x10000011])
    | st.integers(0, (1 << 64) - 1)
    | st.builds(lambda low, high: low | high << 32, st.sampled_from(LOOKED_AT), st.integers(0, 9))
)
six = st.tuples(words, words, words, words, words, words)
nrs = st.integers(0, 500) | st.integers(0, (1 << 32) - 1) | st.integers(1 << 30, (1 << 30) + 600)


@pytest.mark.parametrize("architecture", Architecture)
@given(nr=nrs, arguments=six)
@example(nr=0xFFFFFFFF, arguments=(0,) * 6)
@example(nr=(1 << 30) - 1, arguments=(0,) * 6)
@example(nr=1 << 30, arguments=(0,) * 6)
def test_the_program_answers_as_the_source_does(
    architecture: Architecture, nr: int, arguments: tuple[int, ...]
) -> None:
    value, _ = interpret(rendered(architecture), nr, AUDIT[architecture], arguments)
    assert ANSWERS[value] is expected(architecture, nr, arguments)


@pytest.mark.parametrize("architecture", Architecture)
def test_every_number_is_answered_in_few_comparisons(architecture: Architecture) -> None:
    by_arguments = {NUMBERS[architecture][rule.call] for rule in FILTER.rules}
    for nr in range(1024):
        value, compared = interpret(rendered(architecture), nr, AUDIT[architecture], (0,) * 6)
        assert ANSWERS[value] is expected(architecture, nr, (0,) * 6)
        assert compared <= (14 if nr in by_arguments else 9)


@given(rule=st.sampled_from(FILTER.rules), arguments=six)
def test_every_rule_is_met(rule: Rule, arguments: tuple[int, ...]) -> None:
    for architecture in Architecture:
        nr = NUMBERS[architecture][rule.call]
        value, _ = interpret(rendered(architecture), nr, AUDIT[architecture], arguments)
        assert ANSWERS[value] is rule.answer(arguments)


@given(nr=st.integers(0, (1 << 32) - 1), arch=st.integers(0, (1 << 32) - 1) | st.just(I386))
def test_a_foreign_architecture_is_killed(nr: int, arch: int) -> None:
    for architecture in Architecture:
        value, _ = interpret(rendered(architecture), nr, arch, (0,) * 6)
        assert value == RETURNS[Answer.KILL] or arch == AUDIT[architecture]


@pytest.mark.parametrize("architecture", Architecture)
def test_the_program_is_small_and_sound(architecture: Architecture) -> None:
    code = list(struct.iter_unpack("<HBBI", rendered(architecture)))
    assert 100 < len(code) < 400
    for at, (operation, if_true, if_false, k) in enumerate(code):
        if operation == 0x05:
            assert at + 1 + k < len(code)
        elif operation & 7 == 5:
            assert at + 1 + max(if_true, if_false) < len(code)
        elif operation == 0x20:
            assert k % 4 == 0
            assert k < 64
    assert code[-1][0] == 0x06


def test_a_program_with_far_jumps_still_finds_its_way() -> None:
    cases = tuple(Case((Condition(0, value),), Answer.EPERM) for value in range(60))
    calls = list(NUMBERS[Architecture.X86_64])[:40:2]
    source = Filter(families=(), rules=tuple(Rule(c, cases, Answer.ALLOW) for c in calls))
    program = to_bpf(source, Architecture.X86_64)
    for nr, call in enumerate(list(NUMBERS[Architecture.X86_64])[:41]):
        for first in (0, 59, 60):
            value, _ = interpret(program, nr, 0xC000003E, (first, *(0,) * 5))
            assert ANSWERS[value] is source.answer(call, (first,))


def test_too_long_a_program_is_refused() -> None:
    cases = tuple(Case((Condition(0, value),), Answer.EPERM) for value in range(2000))
    source = Filter(families=(), rules=(Rule("read", cases, Answer.ALLOW),))
    with pytest.raises(ValueError, match="the kernel takes 4096"):
        to_bpf(source, Architecture.X86_64)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_the_host(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
    assert host_filter() == rendered(Architecture(machine))
    assert host_filter() is host_filter()
    nr = NUMBERS[Architecture(machine)]["sched_setaffinity"]
    value, _ = interpret(host_filter(pinned=True), nr, AUDIT[Architecture(machine)], (0,) * 6)
    assert ANSWERS[value] is Answer.EPERM


def test_no_filter_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="i686"))
    with pytest.raises(SandboxError, match="i686"):
        host_filter()


PROFILE: dict[str, Any] = json.loads(to_json(FILTER))


def _fits(rule: dict[str, Any], arguments: tuple[int, ...]) -> bool:
    return all(
        arguments[each["index"]] & each["value"] == each["valueTwo"] for each in rule["args"]
    )


def _answer(rule: dict[str, Any]) -> Answer:
    if rule["action"] == "SCMP_ACT_ALLOW":
        return Answer.ALLOW
    assert rule["action"] == "SCMP_ACT_ERRNO"
    return ANSWERS[0x00050000 | rule["errnoRet"]]


def test_the_profile_says_what_it_is() -> None:
    assert PROFILE["defaultAction"] == "SCMP_ACT_ERRNO"
    assert PROFILE["defaultErrnoRet"] == 38
    assert PROFILE["archMap"] == [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
    ]
    plain = {n: _answer(r) for r in PROFILE["syscalls"] if "args" not in r for n in r["names"]}
    assert plain == dict(FILTER.fixed())


def test_the_profile_compares_an_argument_once_a_rule() -> None:
    """Engines take two comparisons of one argument for alternatives."""
    for rule in PROFILE["syscalls"]:
        looked_at = [each["index"] for each in rule.get("args", ())]
        assert len(set(looked_at)) == len(looked_at)
        assert all(each["value"] >> 32 == 0 for each in rule.get("args", ()))


@given(rule=st.sampled_from(FILTER.rules), arguments=six)
def test_exactly_one_rule_of_the_profile_fits(rule: Rule, arguments: tuple[int, ...]) -> None:
    fitting = [
        _answer(each)
        for each in PROFILE["syscalls"]
        if each["names"] == [rule.call] and "args" in each and _fits(each, arguments)
    ]
    assert fitting == [rule.answer(arguments)]


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def _libseccomp_rules() -> Iterator[tuple[int, bytes, Any]]:
    """As runc reads a profile: what equals the default is left out."""
    for rule in PROFILE["syscalls"]:
        action = RETURNS[_answer(rule)]
        if action == RETURNS[Answer.ENOSYS]:
            continue
        compared = [
            _Comparison(each["index"], 7, each["value"], each["valueTwo"])
            for each in rule.get("args", ())
        ]
        for name in rule["names"]:
            yield action, name.encode(), (_Comparison * len(compared))(*compared)


@functools.cache
def by_libseccomp() -> bytes:
    library = ctypes.CDLL(LIBSECCOMP)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    context = ctypes.c_void_p(library.seccomp_init(RETURNS[Answer.ENOSYS]))
    for action, name, compared in _libseccomp_rules():
        nr = library.seccomp_syscall_resolve_name(name)
        if nr >= 0:
            code = library.seccomp_rule_add_array(
                context, ctypes.c_uint32(action), nr, len(compared), compared
            )
            assert code == 0, (name, code)
    file = os.memfd_create("bpf")
    assert library.seccomp_export_bpf(context, file) == 0
    library.seccomp_release(context)
    with open(file, "rb") as reader:
        reader.seek(0)
        return reader.read()


@pytest.mark.skipif(not LIBSECCOMP, reason="libseccomp is not installed")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="compares with the x86_64 numbers")
@given(nr=st.integers(0, 350), rule=st.sampled_from(FILTER.rules), arguments=six)
def test_libseccomp_makes_the_same_of_the_profile(
    nr: int, rule: Rule, arguments: tuple[int, ...]
) -> None:
    for number in (nr, NUMBERS[Architecture.X86_64][rule.call]):
        value, _ = interpret(by_libseccomp(), number, 0xC000003E, arguments)
        assert ANSWERS[value] is expected(Architecture.X86_64, number, arguments)


def test_nothing_else_is_public() -> None:
    own = {n for n, v in vars(seccomp).items() if getattr(v, "__module__", "") == seccomp.__name__}
    assert {name for name in own if not name.startswith("_")} == {
        "host_filter",
        "to_bpf",
        "to_json",
    }

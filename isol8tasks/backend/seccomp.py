"""The system call filter as a kernel or an engine reads it. Pure but for asking what host this is.

`to_bpf` gives the program that bubblewrap loads: the architecture and the ABI first, then a binary
search over ranges of numbers with one answer, then the few looks at arguments. `to_json` gives the
profile that Docker and Podman take.
"""

from __future__ import annotations

import errno
import functools
import itertools
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from isol8tasks.backend.numbers import NUMBERS, Architecture, host_architecture
from isol8tasks.backend.syscalls import FILTER, Answer, Condition, Filter, Rule

MOST_INSTRUCTIONS = 4096
"""The kernel's BPF_MAXINSNS."""

# linux/bpf_common.h
_LOAD = 0x20  # A = 32 bits of seccomp_data at k
_AND = 0x54
_JUMP = 0x05
_EQUAL = 0x15
_AT_LEAST = 0x35
_RETURN = 0x06

# struct seccomp_data: nr, arch, instruction pointer, six arguments of 64 bits
_NR, _ARCH, _ARGUMENTS = 0, 4, 16

_WORD = 0xFFFFFFFF
_X32 = 0x40000000
"""The bit of x32's numbers. -1 has it too, which is what libraries ask for a call they lack."""

_ERRNO = 0x00050000
_RETURNS = {
    Answer.ALLOW: 0x7FFF0000,
    Answer.KILL: 0x80000000,  # the process, not the thread
    Answer.EPERM: _ERRNO | errno.EPERM,
    Answer.ENOSYS: _ERRNO | errno.ENOSYS,
    Answer.EAFNOSUPPORT: _ERRNO | errno.EAFNOSUPPORT,
    Answer.EOPNOTSUPP: _ERRNO | errno.EOPNOTSUPP,
}


@attrs.frozen
class _Instruction:
    """A struct sock_filter; the jumps count instructions to pass over."""

    code: int
    k: int
    if_true: int = 0
    if_false: int = 0

    def packed(self) -> bytes:
        return struct.pack("<HBBI", self.code, self.if_true, self.if_false, self.k)


_Code = list[_Instruction]


@attrs.frozen
class _Range:
    """Numbers from `first` on, up to the next range, with one fate."""

    first: int
    fate: Answer | Rule


def host_filter(*, pinned: bool = False, counted: bool = False) -> bytes:
    """The program for this host, for bwrap's --seccomp; SandboxError where none can be made.

    `pinned` and `counted` are those of `Filter`, for hosts without control groups.
    """
    return _host_filter(host_architecture(), pinned, counted)


@functools.cache
def _host_filter(architecture: Architecture, pinned: bool, counted: bool) -> bytes:
    source = FILTER.pinned() if pinned else FILTER
    return to_bpf(source.counted() if counted else source, architecture)


def to_bpf(source: Filter, architecture: Architecture) -> bytes:
    """The filter as classic BPF; calls that the architecture does not have are left out."""
    kill = _return(source.foreign)
    search = _search(_ranges(source, NUMBERS[architecture]), source)
    code = [
        _Instruction(_LOAD, _ARCH),
        _Instruction(_EQUAL, architecture.audit, if_true=1),
        kill,
        _Instruction(_LOAD, _NR),
    ]
    if architecture is Architecture.X86_64:
        code += [
            _Instruction(_AT_LEAST, _X32, if_false=3),
            _Instruction(_EQUAL, _WORD, if_false=1),
            _return(source.unknown),
            kill,
        ]
    code += search
    if len(code) > MOST_INSTRUCTIONS:
        raise ValueError(f"a filter of {len(code)} instructions: the kernel takes 4096")
    return b"".join(instruction.packed() for instruction in code)


def _ranges(source: Filter, numbers: Mapping[str, int]) -> list[_Range]:
    """All numbers from 0 on, neighbours with the same fate as one."""
    fates: dict[int, Answer | Rule] = {
        numbers[call]: answer for call, answer in source.fixed().items() if call in numbers
    }
    fates |= {numbers[rule.call]: rule for rule in source.rules if rule.call in numbers}
    each = [(number, fates.get(number, source.unknown)) for number in range(max(fates) + 1)]
    each.append((max(fates) + 1, source.unknown))
    groups = itertools.groupby(each, key=lambda pair: pair[1])
    return [_Range(next(pairs)[0], fate) for fate, pairs in groups]


def _search(ranges: Sequence[_Range], source: Filter) -> _Code:
    """A tree of comparisons with the number in A; every leaf returns."""
    if len(ranges) == 1:
        fate = ranges[0].fate
        return [_return(fate)] if isinstance(fate, Answer) else _decide(fate)
    middle = len(ranges) // 2
    below, above = _search(ranges[:middle], source), _search(ranges[middle:], source)
    return [*_pass_over(below, ranges[middle].first), *below, *above]


def _pass_over(below: _Code, first: int) -> _Code:
    """Go on after `below` if A is at least `first`; conditional jumps reach 255 instructions."""
    if len(below) < 256:
        return [_Instruction(_AT_LEAST, first, if_true=len(below))]
    return [_Instruction(_AT_LEAST, first, if_false=1), _Instruction(_JUMP, len(below))]


def _decide(rule: Rule) -> _Code:
    code: _Code = []
    for case in rule.cases:
        code += _when(case.when, [_return(case.answer)])
    return [*code, _return(rule.otherwise)]


def _when(conditions: Sequence[Condition], then: _Code) -> _Code:
    """`then` if all conditions hold, else what follows it."""
    code = then
    for condition in reversed(conditions):
        load = [_Instruction(_LOAD, _ARGUMENTS + 8 * condition.argument)]
        if condition.mask != _WORD:
            load.append(_Instruction(_AND, condition.mask))
        code = [*load, _Instruction(_EQUAL, condition.value, if_false=len(code)), *code]
    return code


def _return(answer: Answer) -> _Instruction:
    return _Instruction(_RETURN, _RETURNS[answer])


# The engines' profile. libseccomp tries rules in no promised order, lets an unconditional one
# swallow the rest and takes one comparison per argument, so cases are cut into disjoint ones.

_ENGINE_NAMES = {
    Architecture.X86_64: "SCMP_ARCH_X86_64",
    Architecture.AARCH64: "SCMP_ARCH_AARCH64",
}

_BITS = tuple(1 << place for place in reversed(range(32)))
"""Upper bits first: small constants share them, which keeps the cases few."""

_Cube = Mapping[int, tuple[int, int]]
"""By argument, (mask, value): the calls whose arguments have these bits. Empty is every call."""


def to_json(source: Filter) -> str:
    """The filter as a profile of Docker and Podman (`--security-opt seccomp=`).

    An architecture has no sub-architectures, so that libseccomp kills those. Older engines do not
    know `defaultErrnoRet` and answer EPERM to what no rule names.
    """
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _errno(source.unknown),
        "archMap": [
            {"architecture": name, "subArchitectures": []} for name in _ENGINE_NAMES.values()
        ],
        "syscalls": [*_plain(source), *_conditional(source)],
    }
    return json.dumps(profile, separators=(",", ":"))


def _plain(source: Filter) -> Iterator[dict[str, Any]]:
    for family in source.families:
        if family.calls:
            yield {
                "names": list(family.calls),
                **_action(family.answer),
                "comment": f"{family.name}: {family.reason}",
            }


def _conditional(source: Filter) -> Iterator[dict[str, Any]]:
    for rule in source.rules:
        for cube, answer in _disjoint(rule):
            yield {"names": [rule.call], **_action(answer), "args": list(_comparisons(cube))}


def _comparisons(cube: _Cube) -> Iterator[dict[str, Any]]:
    """In the profile's words `value` is the mask and `valueTwo` what is left of the argument."""
    for argument, (mask, value) in sorted(cube.items()):
        yield {"index": argument, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _disjoint(rule: Rule) -> Iterator[tuple[_Cube, Answer]]:
    """The rule as cases of which exactly one fits any arguments."""
    left: list[_Cube] = [{}]
    for case in rule.cases:
        wanted = {each.argument: (each.mask, each.value) for each in case.when}
        for cube in left:
            if (common := _intersection(cube, wanted)) is not None:
                yield common, case.answer
        left = [rest for cube in left for rest in _difference(cube, wanted)]
    for cube in left:
        yield cube, rule.otherwise


def _intersection(one: _Cube, other: _Cube) -> _Cube | None:
    common = dict(one)
    for argument, (mask, value) in other.items():
        had, was = common.get(argument, (0, 0))
        if (was ^ value) & had & mask:
            return None
        common[argument] = (had | mask, was | value)
    return common


def _difference(cube: _Cube, removed: _Cube) -> Iterator[_Cube]:
    """What of the cube is not in the other: one cube for each bit in which they can differ."""
    if _intersection(cube, removed) is None:
        yield cube
        return
    common = dict(cube)
    for argument, (mask, value) in sorted(removed.items()):
        for bit in _BITS:
            had, was = common.get(argument, (0, 0))
            if mask & bit and not had & bit:
                yield {**common, argument: (had | bit, was | (~value & bit))}
                common[argument] = (had | bit, was | (value & bit))


def _action(answer: Answer) -> dict[str, Any]:
    if answer is Answer.ALLOW:
        return {"action": "SCMP_ACT_ALLOW"}
    if answer is Answer.KILL:
        return {"action": "SCMP_ACT_KILL_PROCESS"}
    return {"action": "SCMP_ACT_ERRNO", "errnoRet": _errno(answer)}


def _errno(answer: Answer) -> int:
    return _RETURNS[answer] & 0xFFFF

"""A process stopped at each of its system calls, as with strace, to be killed there or to get a failure.

It uses ptrace(2) itself, so it needs neither root nor a package. Failing calls are for x86-64 only.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import platform
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

CAN_FAIL = platform.machine() == "x86_64"
CALLS = {
    0: "read", 1: "write", 2: "open", 3: "close", 4: "stat", 5: "fstat", 6: "lstat", 8: "lseek", 16: "ioctl",
    21: "access", 73: "flock", 74: "fsync", 75: "fdatasync", 82: "rename", 86: "link", 87: "unlink", 91: "fchmod",
    93: "fchown", 257: "openat", 262: "newfstatat", 263: "unlinkat", 264: "renameat", 265: "linkat", 269: "faccessat",
    316: "renameat2", 332: "statx", 439: "faccessat2",
}  # fmt: skip
"""The numbers on x86-64 of the calls for files."""

_TRACEME, _POKEUSER, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 6, 24, 0x4200, 0x420E
_TRACESYSGOOD, _EXITKILL = 1, 0x100000
_AT_CALL = signal.SIGTRAP | 0x80
_ENTRY, _EXIT = 1, 2
_RAX, _ORIG_RAX = 80, 120
_ROOM = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class _Info(ctypes.Structure):
    """The beginning of `struct ptrace_syscall_info` of ptrace(2), up to the number of the call."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    )


@dataclass
class Trace:
    """The numbers of the calls, and the work's answer, or "" where it was killed before."""

    numbers: list[int] = field(default_factory=list)
    answer: str = ""

    @property
    def names(self) -> list[str]:
        return [CALLS.get(number, "") for number in self.numbers]


def killed(work: Callable[[], str], at: int | None) -> Trace:
    """Run `work` in its own process, and kill it before its call number `at`, counted from 0."""
    return _trace(work, lambda number: number == at, 0)


def failing(work: Callable[[], str], fails: Callable[[int, str], bool], error: int) -> Trace:
    """Run `work` in its own process; the calls that `fails` selects by position and name fail."""
    assert CAN_FAIL
    return _trace(work, fails, error)


def _trace(work: Callable[[], str], strikes: Callable[..., bool], error: int) -> Trace:
    answer = mmap.mmap(-1, _ROOM)
    gc.collect()  # a collection in the child would close files of earlier tests between any two calls
    pid = os.fork()
    if pid == 0:
        gc.disable()
        _work(work, answer)
    try:
        trace = _follow(pid, strikes, error)
    finally:
        if _lives(pid):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    trace.answer = answer[:].rstrip(b"\0").decode()
    answer.close()
    return trace


def _work(work: Callable[[], str], answer: mmap.mmap) -> None:
    """Run the child's part; it answers by shared memory, which needs no call."""
    try:
        _ptrace(_TRACEME, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        said = work()
    except BaseException:  # noqa: BLE001 - the parent shows it
        said = traceback.format_exc()
    said_bytes = said.encode()[-_ROOM:]
    answer[: len(said_bytes)] = said_bytes
    os._exit(0)


def _follow(pid: int, strikes: Callable[..., bool], error: int) -> Trace:
    trace = Trace()
    _, status = os.waitpid(pid, 0)
    assert os.WIFSTOPPED(status)
    _ptrace(_SETOPTIONS, pid, 0, _TRACESYSGOOD | _EXITKILL)
    failed = False
    pending = 0
    while True:
        _ptrace(_SYSCALL, pid, 0, pending)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return trace
        pending = 0 if os.WSTOPSIG(status) == _AT_CALL else os.WSTOPSIG(status)
        if pending:
            continue
        info = _Info()
        _ptrace(_GET_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.addressof(info))
        if info.op == _ENTRY:
            place = len(trace.numbers)
            trace.numbers.append(info.number)
            if not error and strikes(place):
                return trace  # the caller kills it
            if error and strikes(place, CALLS.get(info.number, "")):
                failed = True
                _ptrace(_POKEUSER, pid, _ORIG_RAX, -1)  # no such call
        elif info.op == _EXIT and failed:
            failed = False
            _ptrace(_POKEUSER, pid, _RAX, -error)


def _lives(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


def _ptrace(request: int, pid: int, address: int, value: int) -> None:
    if _libc.ptrace(request, pid, address, value) == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), f"ptrace {request}: {os.strerror(ctypes.get_errno())}")

"""Runs one program that reads a stranger's document, so that it can reach that document and its output and nothing
else.

Started as a program of its own (``python -I -S sandbox.py BOUNDS PROGRAM ARGUMENT…``) it gives up rights, then becomes
PROGRAM: Landlock (Linux 5.13, kernel's Documentation/userspace-api/landlock.rst) hides every file that BOUNDS does not
name and allows no other program; seccomp (seccomp(2)) refuses sockets, other processes, signals, new programs' helpers
and changes of files' owners and modes; resource limits bound time, memory and size of files. None of it needs root, a
user namespace or a package, so it works under the hardening of the shipped systemd unit. It uses the standard library
alone, since it starts for each document.

What a file is called, how large and how old it is can still be asked (stat), for a path that is guessed.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

NOT_AVAILABLE = 96
"""The exit code where the kernel has no Landlock or seccomp, and BOUNDS do not do without."""
NO_PROGRAM = 97
"""The exit code where the program could not be started."""
NICENESS = 10
"""The daemon that decides calls goes first."""
EXPENDABLE = 500
"""As `charging.priority.give_way`: where the machine has no memory left, a document goes before Asterisk."""

SYSTEM = (
    *("/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/share", "/usr/local/lib", "/lib", "/lib64"),
    *("/etc/ld.so.cache", "/etc/fonts", "/etc/ghostscript", "/etc/papersize", "/etc/localtime"),
    *("/var/lib/ghostscript", "/var/cache/fontconfig", "/dev/null", "/dev/zero", "/dev/urandom"),
)
"""What programs need to run: libraries, fonts, tables. There are no secrets in them."""
_LOADERS = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-x86_64.so.1")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the program may use."""

    read: tuple[str, ...]
    """Files and folders that it reads, beside those of the system."""
    write: tuple[str, ...]
    """Folders that it writes in."""
    cpu_s: int
    memory_bytes: int
    """Of address space."""
    file_bytes: int
    """Of each file that it writes."""
    required: bool = True
    """``False``: where the kernel cannot hide files, go without that."""


def command(bounds: Bounds, program: str, *arguments: str) -> list[str]:
    """The command line that runs ``program`` (a path) within the bounds."""
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), json.dumps(asdict(bounds)), program, *arguments]


def environment(scratch: Path) -> dict[str, str]:
    """All that the program sees as its environment: nothing of the daemon's."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(scratch), "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8"}


# --- what the kernel can ------------------------------------------------------------------------------------------

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 5, 1 << 8, 1 << 14
_FS_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Every right over files that a version of Landlock knows."""
_NET_RIGHTS, _SCOPES = 0b11, 0b11
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
"""Those that mean something for what is no folder; Landlock refuses others there."""

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_DUMPABLE = 38, 22, 2, 4
_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """Which version of Landlock the kernel has; 0: none, or it is not switched on."""
    version: int = _libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    return max(0, version)


def missing() -> str:
    """Why this machine cannot confine programs, and what to do; empty if it can. A separate process tries it, because a
    system-call filter without Landlock would kill that process."""
    bounds = Bounds(read=(), write=(), cpu_s=10, memory_bytes=10**9, file_bytes=0)
    line = command(bounds, "true")
    try:
        ran = subprocess.run(  # noqa: S603  # a line of our own
            line, env=environment(Path("/")), capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the sandbox could not be tried: {error}"
    if ran.returncode == -signal.SIGSYS:
        return "the system-call filter forbids Landlock: take it from the shipped config/systemd/charging.service"
    return "" if ran.returncode == 0 else ran.stderr.strip() or f"the sandbox ended with {ran.returncode}"


def _lacking() -> str:
    """What this kernel lacks; empty: nothing."""
    if platform.machine() not in _SYSCALLS:
        return f"the sandbox knows no {platform.machine()}, only {' and '.join(sorted(_SYSCALLS))}"
    if not landlock_version():
        return "the kernel has no Landlock: it needs Linux 5.13 or newer with landlock in its list `lsm=`"
    return ""


def _tried(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), what)
    return result


def _hide_files(bounds: Bounds, program: str) -> None:
    """From here on only what is named can be opened. Raises OSError."""
    version = landlock_version()
    handled = _FS_RIGHTS[max(known for known in _FS_RIGHTS if known <= version)]
    net, scopes = (_NET_RIGHTS if version >= 4 else 0), (_SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _tried(
        _libc.syscall(_LANDLOCK_CREATE, struct.pack("QQQ", handled, net, scopes)[:size], size, 0), "landlock"
    )
    executable = [program, *_LOADERS]
    for paths, rights in (
        (SYSTEM, _READ_FILE | _READ_DIR),
        (executable, _EXECUTE | _READ_FILE),
        (bounds.read, _READ_FILE | _READ_DIR),
        (bounds.write, _READ_FILE | _READ_DIR | _WRITE_FILE | _MAKE_REG | _REMOVE_FILE | _TRUNCATE),
        (("/dev/null",), _READ_FILE | _WRITE_FILE),
    ):
        _allow(rules, paths, rights & handled)
    _tried(_libc.syscall(_LANDLOCK_RESTRICT, rules, 0), "landlock_restrict_self")
    os.close(rules)


def _allow(rules: int, paths: Iterable[str], rights: int) -> None:
    for path in paths:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        of_this = rights if os.path.isdir(path) else rights & _OF_FILES
        _tried(_libc.syscall(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", of_this, place), 0), path)
        os.close(place)


# --- system calls that are refused --------------------------------------------------------------------------------

_REFUSED = (
    # Other machines, other processes on this one, and threads, of which a daemon's user may have only so many.
    *("clone", "clone3"),
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4"),
    *("fork", "vfork", "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd", "process_madvise", "kcmp"),
    *("sched_setparam", "sched_setaffinity", "migrate_pages", "move_pages"),
    # Changes of files that Landlock does not look at.
    # `fallocate` takes room on the disk that counts as nothing written.
    *("fallocate", "truncate", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "utimensat", "utimes"),
    *("utime", "futimesat", "mknod", "mknodat", "name_to_handle_at", "open_by_handle_at"),
    # The kernel's larger doors.
    *("io_uring_setup", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "unshare"),
    *("setns", "mount", "umount2", "pivot_root", "chroot", "memfd_create", "memfd_secret", "init_module"),
    *("finit_module", "kexec_load", "execveat", "vmsplice"),
    *("shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv", "msgctl", "semget", "semop", "semtimedop", "semctl"),
    *("mq_open", "mq_unlink"),
    *("prlimit64", "setpriority", "sched_setscheduler", "sched_setattr", "ioprio_set", "personality"),
)
# Of the kernel's arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_X86_64 = {
    **{"socket": 41, "socketpair": 53, "connect": 42, "bind": 49, "listen": 50, "accept": 43, "accept4": 288},
    **{"fork": 57, "vfork": 58, "clone": 56, "clone3": 435, "kill": 62, "tkill": 200, "tgkill": 234},
    **{"rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "pidfd_send_signal": 424, "ptrace": 101},
    **{"process_vm_readv": 310, "process_vm_writev": 311, "pidfd_open": 434, "pidfd_getfd": 438},
    **{
        "process_madvise": 440,
        "kcmp": 312,
        "fallocate": 285,
        "ioctl": 16,
        "truncate": 76,
        "chmod": 90,
        "fchmod": 91,
        "fchmodat": 268,
    },
    **{"fchmodat2": 452, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260, "setxattr": 188},
    **{"lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199},
    **{"utimensat": 280, "utimes": 235, "utime": 132, "futimesat": 261, "mknod": 133, "mknodat": 259},
    **{"name_to_handle_at": 303, "open_by_handle_at": 304, "io_uring_setup": 425, "bpf": 321},
    **{"perf_event_open": 298, "userfaultfd": 323, "keyctl": 250, "add_key": 248, "request_key": 249},
    **{"unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161},
    **{"memfd_create": 319, "memfd_secret": 447, "init_module": 175, "finit_module": 313, "kexec_load": 246},
    **{"shmget": 29, "shmat": 30, "msgget": 68, "semget": 64, "mq_open": 240, "execveat": 322, "vmsplice": 278},
    **{"prlimit64": 302, "setpriority": 141, "sched_setscheduler": 144, "sched_setattr": 314, "ioprio_set": 251},
    **{
        "personality": 135,
        "fcntl": 72,
        "prctl": 157,
        "sched_setparam": 142,
        "sched_setaffinity": 203,
        "migrate_pages": 256,
    },
    **{"move_pages": 279, "shmctl": 31, "msgsnd": 69, "msgrcv": 70, "msgctl": 71, "semop": 65, "semtimedop": 220},
    **{"semctl": 66, "mq_unlink": 241},
}
_AARCH64 = {
    **{"socket": 198, "socketpair": 199, "connect": 203, "bind": 200, "listen": 201, "accept": 202, "accept4": 242},
    **{"clone": 220, "clone3": 435, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138},
    **{"rt_tgsigqueueinfo": 240, "pidfd_send_signal": 424, "ptrace": 117, "process_vm_readv": 270},
    **{"process_vm_writev": 271, "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440, "kcmp": 272},
    **{"ioctl": 29},
    **{"fallocate": 47, "truncate": 45, "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "fchown": 55, "fchownat": 54},
    **{"setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16},
    **{"utimensat": 88, "mknodat": 33, "name_to_handle_at": 264, "open_by_handle_at": 265, "io_uring_setup": 425},
    **{"bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "keyctl": 219, "add_key": 217, "request_key": 218},
    **{"unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51},
    **{"memfd_create": 279, "memfd_secret": 447, "init_module": 105, "finit_module": 273, "kexec_load": 104},
    **{"shmget": 194, "shmat": 196, "msgget": 186, "semget": 190, "mq_open": 180, "execveat": 281, "vmsplice": 75},
    **{"prlimit64": 261, "setpriority": 140, "sched_setscheduler": 119, "sched_setattr": 274, "ioprio_set": 30},
    **{
        "personality": 92,
        "fcntl": 25,
        "prctl": 167,
        "sched_setparam": 118,
        "sched_setaffinity": 122,
        "migrate_pages": 238,
    },
    **{"move_pages": 239, "shmctl": 195, "msgsnd": 189, "msgrcv": 188, "msgctl": 187, "semop": 193, "semtimedop": 192},
    **{"semctl": 191, "mq_unlink": 181},
}
_SYSCALLS = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}
"""By machine: how audit.h names it, and the numbers of its system calls; one that is not there has no number."""
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # of linux/bpf_common.h
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM = 1
_FIRST, _SECOND = 16, 24
"""Where seccomp_data has the lower half of an argument."""
_REFUSED_IF = {"fcntl": (_SECOND, (8, 10, 15)), "prctl": (_FIRST, (_PR_SET_DUMPABLE,))}
"""Calls that are refused with some values of an argument.

F_SETOWN, F_SETSIG and F_SETOWN_EX of fcntl(2): the process that is named as a pipe's owner gets the signal that is
chosen, SIGKILL too, when something is written to it. Landlock looks at that since Linux 6.12 only.
PR_SET_DUMPABLE of prctl(2): the daemon could no longer look at what the program has written (/proc/PID/io)."""
_ALLOWED_IF = {"ioctl": (_SECOND, (0x5401, 0x541B, 0x5451))}
"""Calls that are refused but with some values of an argument.

TCGETS, FIONREAD and FIOCLEX of ioctl(2). Those of file systems take room on the disk as fallocate(2) does.
"""
_X32 = 0x40000000
"""Numbers of another calling convention of x86_64 begin here."""


def _filter() -> bytes:
    """The program that the kernel asks at each system call (struct sock_filter of linux/filter.h)."""
    architecture, numbers = _SYSCALLS[platform.machine()]
    refused = sorted(numbers[name] for name in _REFUSED if name in numbers)
    steps = [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for number in refused:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | _EPERM)]
    refuse, allow = (_RETURN, 0, 0, _ERROR | _EPERM), (_RETURN, 0, 0, _ALLOW)
    asked = [(name, *one, (allow, refuse)) for name, one in _REFUSED_IF.items()]
    asked += [(name, *one, (refuse, allow)) for name, one in _ALLOWED_IF.items()]
    for name, place, values, ends in asked:
        steps += [(_EQUAL, 0, len(values) + 3, numbers[name]), (_LOAD, 0, 0, place)]
        steps += [(_EQUAL, len(values) - nth, 0, value) for nth, value in enumerate(values)]
        steps += ends
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _refuse_calls() -> None:
    program = _filter()
    held = ctypes.create_string_buffer(program, len(program))
    given = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
    _tried(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, given, 0, 0), "seccomp")


# --- the program --------------------------------------------------------------------------------------------------


def _limit(bounds: Bounds) -> None:
    for what, most in (
        (resource.RLIMIT_CPU, bounds.cpu_s),
        (resource.RLIMIT_AS, bounds.memory_bytes),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def _be_expendable() -> None:
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(f"{EXPENDABLE}", encoding="ascii")


def main(arguments: Sequence[str]) -> int:
    """Give up rights and become the program. Returns only if that failed, with the exit code: it raises nothing, since
    an OSError is printed."""
    bounds = Bounds(**json.loads(arguments[0]))
    program = shutil.which(arguments[1])
    if program is None:
        return NO_PROGRAM
    why = _lacking()
    try:
        if why and bounds.required:
            raise OSError(why)
        os.nice(NICENESS)
        _be_expendable()
        _tried(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        _tried(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")
        _limit(bounds)
        if not why:
            _hide_files(bounds, os.path.realpath(program))
        if platform.machine() in _SYSCALLS:
            _refuse_calls()
    except OSError as error:
        print(error, file=sys.stderr)
        return NOT_AVAILABLE
    try:
        os.execv(program, [program, *arguments[2:]])  # noqa: S606  # there must be no shell
    except OSError as error:
        print(f"sandbox: {program}: {error}", file=sys.stderr)
        return NO_PROGRAM


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

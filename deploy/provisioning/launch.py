"""Starts one program as the service account, inside a root folder if told so: `python launch.py OPTIONS -- COMMAND`.

As root this is chroot and setuid, and a folder that the account cannot reach is shown to it at MOUNT_POINT. For anyone
else a user namespace with that one account in it gives the right to chroot; the right ends with the exec, so the
program itself runs without privileges. A process of its own, because nothing of the caller must be changed; ctypes,
because Python before 3.12 has no unshare.
"""

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
PR_SET_PDEATHSIG = 1
# A folder that every Linux has and no service needs; nobody but the program sees what is mounted on it.
MOUNT_POINT = "/mnt"


def main() -> None:
    """Become what the options say, then the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, help="folder that becomes /")
    parser.add_argument("--show", type=Path, help=f"folder that the program sees at {MOUNT_POINT}")
    parser.add_argument("--uid", type=int, required=True)
    parser.add_argument("--gid", type=int, required=True)
    parser.add_argument("--bound", action="store_true", help="end when the caller is killed")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    if options.root is not None and os.geteuid() != 0:
        enter_user_namespace(options.uid, options.gid)
        _call("mount", b"/dev", bytes(options.root / "dev"), None, MS_BIND | MS_REC, None)
    if options.show is not None:
        _call("unshare", CLONE_NEWNS)
        _call("mount", None, b"/", None, MS_PRIVATE | MS_REC, None)  # what follows stays between us and the program
        _call("mount", bytes(options.show), MOUNT_POINT.encode(), None, MS_BIND | MS_REC, None)
    if options.root is not None:
        os.chroot(options.root)
    os.chdir("/")
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(options.gid, options.gid, options.gid)
        os.setresuid(options.uid, options.uid, options.uid)
    if options.bound:
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)  # last, since a change of account would take it back
    os.umask(0o077)
    os.execvp(options.command[0], options.command)


def enter_user_namespace(uid: int, gid: int) -> None:
    """Move into a user namespace in which the caller is all there is, with mounts of its own."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        sys.exit(f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main()

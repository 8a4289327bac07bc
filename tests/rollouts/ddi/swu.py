"""SWUpdate for tests: Debian's unmodified package, and signed images that it accepts."""

import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

# What Debian's swupdate links beyond what any Debian has; unpacked beside it, nothing is installed.
PACKAGES = (
    "swupdate",
    "libswupdate0.1",
    "libconfig9",
    "librsync2",
    "libb2-1",
    "libgpiod2",
    "libwebsockets17",
    "liburiparser1",
    "libzck1",
    "liblua5.3-0",
)


class Unavailable(Exception):
    """SWUpdate cannot be had on this machine; the message says why."""


def program(cache: Path) -> tuple[Path, dict[str, str]]:
    """The program and the environment that it needs: an installed one, else the packages unpacked into `cache`."""
    if found := shutil.which("swupdate"):
        return Path(found), {}
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Unavailable("there is no swupdate, and no apt to fetch it with")
    binary = cache / "root/usr/bin/swupdate"
    if not binary.exists():
        _unpack(cache)
    libraries = sorted({str(path.parent) for path in (cache / "root").rglob("*.so.*")})
    environment = {"LD_LIBRARY_PATH": ":".join(libraries)}
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True, env={**os.environ, **environment})
    missing = [line.split()[0] for line in linked.stdout.splitlines() if "not found" in line]
    if missing:
        raise Unavailable(f"swupdate lacks {', '.join(missing)}")
    return binary, environment


def _unpack(cache: Path) -> None:
    packages = cache / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    fetched = subprocess.run(["apt-get", "download", *PACKAGES], cwd=packages, capture_output=True, text=True)
    if fetched.returncode:
        raise Unavailable(f"apt-get download: {fetched.stderr.strip()[-300:]}")
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, cache / "root"], check=True)


def make_key(folder: Path) -> tuple[Path, Path]:
    """A certificate and its key, as the device trusts them."""
    certificate, key = folder / "release.pem", folder / "release.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=releases"]
        + ["-addext", "extendedKeyUsage=emailProtection", "-addext", "keyUsage=digitalSignature"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


def make_image(folder: Path, version: str, *, writes: Path, certificate: Path, key: Path) -> bytes:
    """A signed .swu that writes its version into a file."""
    payload = f"{version}\n".encode()
    description = f"""software = {{
  version = "{version}";
  hardware-compatibility = [ "1.0" ];
  stable = {{
    main = {{
      files: ( {{
        filename = "payload";
        path = "{writes}";
        sha256 = "{hashlib.sha256(payload).hexdigest()}";
      }} );
    }};
  }};
}}
""".encode()
    (folder / "sw-description").write_bytes(description)
    subprocess.run(
        ["openssl", "cms", "-sign", "-in", "sw-description", "-out", "sw-description.sig", "-signer", str(certificate)]
        + ["-inkey", str(key), "-outform", "DER", "-nosmimecap", "-binary"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    signature = (folder / "sw-description.sig").read_bytes()
    entries = [("sw-description", description), ("sw-description.sig", signature), ("payload", payload)]
    return b"".join(_entry(name, body) for name, body in entries) + _entry("TRAILER!!!", b"")


def _entry(name: str, body: bytes) -> bytes:
    """One member of a cpio archive in the "new ASCII with checksum" form (070702), padded to four bytes."""
    encoded = name.encode() + b"\0"
    last = name == "TRAILER!!!"
    fields = [0, 0 if last else 0o100644, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(encoded), 0 if last else sum(body)]
    head = b"070702" + b"".join(b"%08X" % (field & 0xFFFFFFFF) for field in fields) + encoded
    return head + b"\0" * (-len(head) % 4) + body + b"\0" * (-len(body) % 4)


class SWUpdate:
    """A running client on one device."""

    def __init__(self, binary: Path, environment: dict[str, str], folder: Path, certificate: Path) -> None:
        self.binary, self.certificate, self.folder = binary, certificate, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = {**os.environ, **environment, "TMPDIR": str(folder)}
        (folder / "sw.cfg").write_text(
            'globals : { verbose = true; bootloader = "none"; };\n'
            'identify : ( { name = "board"; value = "orin-nx-16"; } );\n'
        )
        self.log = folder / "swupdate.log"
        self.process: subprocess.Popen | None = None

    def start(self, server: str, serial: str, token: str, *, confirm: bool = False) -> None:
        """Begin to poll; `confirm` is the restart after an update, which reports that it holds."""
        suricatta = f"-t DEFAULT -u {server} -i {serial} -k {token} -p 1" + (" -c 2" if confirm else "")
        command = [self.binary, "-f", self.folder / "sw.cfg", "-k", self.certificate, "-e", "stable,main"]
        command += ["-H", "board:1.0", "-p", "true", "-l", "5", "-u", suricatta]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=self.environment, start_new_session=True
            )

    def stop(self) -> None:
        """End it and what it started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(5)
            self.process = None

    def tail(self) -> str:
        """The end of its log, for a failing test."""
        return self.log.read_text(errors="replace")[-4_000:] if self.log.exists() else ""

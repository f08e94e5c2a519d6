"""Images of what this computer has: its Python with a shell, as a base to build on; single programs."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pip

from .solo import program

_LEFT_OUT = {
    *("__pycache__", "site-packages", "dist-packages", "ensurepip"),
    *("test", "idlelib", "tkinter", "turtledemo", "lib2to3", "pydoc_data"),
}
_MODULES = ("_tkinter", "_test", "_xx", "_ctypes_test")  # neither these
_FOLDERS = (
    *("bin", "etc", "lib", "lib64", "opt", "tmp", "var", "var/lib"),
    *("usr", "usr/local", "usr/local/bin", "usr/local/lib"),
)
_FILES = {
    "etc/passwd": b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\nnobody:x:65534:\n",
    "etc/nsswitch.conf": b"hosts: files dns\n",
}
_TOOLS = ("sh", "mkdir", "chown", "cat", "ls", "id", "touch", "env", "wget")
# what wheels are linked with beside that; an official image has it, too
_FOR_WHEELS = (
    *("libstdc++.so.6", "libgcc_s.so.1"),
    *("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1"),
)


def root_filesystem() -> bytes:
    """A tar for ``docker import``: python3 in /usr/local as in the official image, and a shell."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        _folders(tar, _FOLDERS)
        _python(tar)
        tar.add(shutil.which("busybox") or "", "bin/busybox")
        for name in _TOOLS:
            _link(tar, f"bin/{name}", "busybox")
        for name, content in _FILES.items():
            _file(tar, name, content, 0o644)
    return made.getvalue()


def one_program(name: str) -> bytes:
    """A tar for ``docker import``: a program of this computer in /bin, with what it is linked with."""
    files = program(name)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        parents = {str(parent) for path in files for parent in Path(path).parents} - {"."}
        _folders(tar, [*sorted(parents), "etc", "tmp", "var", "var/run"])
        for path, content in files.items():
            _file(tar, path, content, 0o755)
        for path, content in _FILES.items():
            _file(tar, path, content, 0o644)
    return made.getvalue()


def _folders(tar: tarfile.TarFile, names: Iterable[str]) -> None:
    """Docker makes those that are not named root's alone, and root without capabilities is barred, too."""
    for name in names:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
        tar.addfile(entry)


def _file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _python(tar: tarfile.TarFile) -> None:
    program = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    tar.add(program, f"usr/local/bin/{program.name}")
    for name in ("python3", "python"):
        _link(tar, f"usr/local/bin/{name}", program.name)
    tar.add(library, f"usr/local/lib/{library.name}", filter=_wanted)
    for path in Path(pip.__file__).parents[1].glob("pip*"):
        tar.add(path, f"usr/local/lib/{library.name}/site-packages/{path.name}")
    modules = [path for path in library.glob("lib-dynload/*.so") if not path.name.startswith(_MODULES)]
    with tempfile.TemporaryDirectory() as folder:
        for path in _libraries([program, *modules]):
            # the loader has its place; others are looked for in /lib
            name = str(path)[1:] if path.name.startswith("ld-") else f"lib/{path.name}"
            tar.add(_without_symbols(path.resolve(), Path(folder) / path.name), name)


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(entry.name).name
    return None if name in _LEFT_OUT or name.startswith(("config-", *_MODULES)) else entry


def _without_symbols(path: Path, copy: Path) -> Path:
    """``path``, or a copy that is a quarter as large: the engines here copy an image for every layer."""
    strip = shutil.which("strip")
    if strip is None or path.stat().st_size < 2**23:
        return path
    return copy if subprocess.run([strip, "-o", copy, path], check=False).returncode == 0 else path


def _libraries(programs: Iterable[Path]) -> Iterator[Path]:
    linked = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    found = {word for word in linked.split() if word.startswith("/") and not word.endswith(":")}
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for name in _FOR_WHEELS:
        found |= {line.split()[-1] for line in known.splitlines() if line.strip().startswith(f"{name} ")}
    yield from {Path(one).name: Path(one) for one in sorted(found)}.values()


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, target
    tar.addfile(link)

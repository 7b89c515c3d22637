"""Make .venv and install a hash-pinned lock into it; runs before anything is installed.

    python scripts/_install.py LOCK PROGRAM [ARGUMENT...]

installs requirements/LOCK.txt unless it is there already, and what settings need besides; then
becomes PROGRAM, run by the Python of .venv.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "install.log"
BUILD_LOCK = ROOT / "requirements" / "build.txt"
EVERYTHING = ROOT / "requirements" / "dev.txt"  # agrees with the smaller locks
# What takes more packages, by the setting that asks for it.
EXTRAS = {"OTEL_EXPORTER_OTLP_ENDPOINT": "tracing"}
COMPILED = "gunicorn-h1c"  # published as source only


class InstallError(Exception):
    """The dependencies cannot be installed; the message says why in one line."""


def ensure(lock: Path) -> None:
    """Bring .venv to what `lock` says; quick when it is so already."""
    VENV.mkdir(exist_ok=True)
    with (VENV / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two starts at once install once
        if not _venv_works():
            _make_venv()
        if not _is_installed(lock) and not _is_installed(EVERYTHING):
            _install(lock)
            _stamp(lock).write_text(_digest(lock))


def _is_installed(lock: Path) -> bool:
    stamp = _stamp(lock)
    return stamp.exists() and stamp.read_text() == _digest(lock)


def _stamp(lock: Path) -> Path:
    return VENV / f".installed-{lock.stem}"


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes() + BUILD_LOCK.read_bytes()).hexdigest()


def _venv_works() -> bool:
    """Whether .venv has a Python that runs: it does not after the system's was replaced."""
    check = "import pip, sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return (
            subprocess.run([PYTHON, "-c", check], check=False, capture_output=True).returncode == 0
        )
    except OSError:
        return False


def _make_venv() -> None:
    if importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise InstallError(
            f"this Python cannot make environments: apt-get install python{version}-venv"
        )
    for entry in VENV.iterdir():
        if entry.name != ".lock":
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    _run([sys.executable, "-m", "venv", str(VENV)], "the environment .venv cannot be made")


def _install(lock: Path) -> None:
    started = time.monotonic()
    blocks = _blocks(lock)
    _say(f"Installing {len(blocks)} packages into .venv, once; this takes about half a minute ...")
    compiled = blocks.pop(COMPILED, "")
    _pip("".join(blocks.values()), lock)
    if compiled and not _compile(compiled):
        _say(
            f"Going on without {COMPILED} (no C compiler): gunicorn parses HTTP in Python, slower."
        )
    _say(f"Installed in {time.monotonic() - started:.0f} s.")


def _blocks(lock: Path) -> dict[str, str]:
    """The lock, by package: `name==version` and the indented hashes below it."""
    blocks: dict[str, str] = {}
    for text in re.findall(r"^[^\s#].*\n(?:[ \t].*\n?)*", lock.read_text(), re.MULTILINE):
        name = text.partition("==")[0]
        blocks[name] = blocks.get(name, "") + text  # a package may have a block for each Python
    return blocks


def _compile(requirement: str) -> bool:
    """Build the one package that has no wheels, by tools that are pinned, too."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
    header = Path(sysconfig.get_path("include"), "Python.h")
    if shutil.which(compiler) is None or not header.exists():
        return False
    try:
        _pip(BUILD_LOCK.read_text(), BUILD_LOCK)
        _pip(requirement, BUILD_LOCK, "--no-build-isolation")
    except InstallError:
        return False
    return True


def _pip(requirements: str, source: Path, *options: str) -> None:
    chosen = VENV / "requirements.txt"
    chosen.write_text(requirements)
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--require-hashes", *options, "-r", str(chosen)]
    _run(command, f"pip could not install {source.relative_to(ROOT)}")


def _run(command: list[str], complaint: str) -> None:
    with LOG.open("w") as log:
        status = subprocess.run(command, check=False, stdout=log, stderr=log).returncode
    if status != 0:
        lines = [line for line in LOG.read_text().splitlines() if line.startswith("ERROR")]
        reason = lines[-1].removeprefix("ERROR: ") if lines else f"see {LOG}"
        raise InstallError(f"{complaint}: {reason}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> int:
    name, program, *arguments = sys.argv[1:]
    extras = [lock for setting, lock in EXTRAS.items() if os.environ.get(setting)]
    try:
        for lock in (name, *extras):
            ensure(ROOT / "requirements" / f"{lock}.txt")
    except (InstallError, OSError) as error:
        _say(f"The dependencies could not be installed: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    os.execv(PYTHON, [str(PYTHON), program, *arguments])  # nosec B606 # noqa: S606
    return 0


if __name__ == "__main__":
    sys.exit(main())

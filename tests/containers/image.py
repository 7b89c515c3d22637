"""The image without an engine: a folder with what the Dockerfile puts into it.

Each COPY is followed, as .dockerignore lets it, and each RUN of the stage that holds our code. What
Debian and pip install is what the tests run in already.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path

from tests.running import ROOT

# Of each image, what its stages need to know of paths inside it.
PACKAGES = "/opt/signpost"
CODE = "/srv/signpost"
HOME = "/var/lib/signpost"


@dataclass
class Stage:
    """One stage: its files, its environment, and what it says of its processes."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def inside(self, path: str) -> Path:
        """A path of the image, here."""
        place = Path(self.said.get("WORKDIR", "/"), path)
        return self.folder / place.relative_to("/")

    def text(self, value: str) -> str:
        """A value with the paths of the image replaced by those here."""
        return re.sub(rf"(?<![\w/])({PACKAGES}|{CODE}|{HOME})\b", rf"{self.folder}\1", value)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile, lines that go on joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


class Ignored:
    """What .dockerignore keeps from the builder: the last pattern that fits decides."""

    def __init__(self, text: str) -> None:
        lines = (line.strip() for line in text.splitlines())
        self._rules = [
            (not line.startswith("!"), _pattern(line.removeprefix("!")))
            for line in lines
            if line and not line.startswith("#")
        ]

    def __call__(self, path: Path) -> bool:
        """Whether a path, from the root of the context, is kept away, itself or a parent."""
        ignored = False
        places = [path, *path.parents][:-1]
        for keeps_away, pattern in self._rules:
            if any(pattern.fullmatch(place.as_posix()) for place in places):
                ignored = keeps_away
        return ignored


def _pattern(text: str) -> re.Pattern[str]:
    # As Go's filepath.Match: only `**` goes across folders.
    parts = []
    for segment in text.strip("/").split("/"):
        if segment == "**":
            parts.append("(?:[^/]+/)*")
        else:
            parts.append(translate(segment).removesuffix(r"\Z").replace(".*", "[^/]*") + "/")
    return re.compile("".join(parts).removesuffix("/"))


def build(folder: Path, target: str, context: Path = ROOT) -> Stage:
    """Follow the Dockerfile down to a stage."""
    ignored = Ignored((context / ".dockerignore").read_text(encoding="utf-8"))
    stages: dict[str, Stage] = {}
    stage = Stage(folder)
    for name, rest in instructions((context / "Dockerfile").read_text(encoding="utf-8")):
        if name == "FROM":
            base, _, new = rest.partition(" AS ")
            stage = Stage(folder / new)
            if base in stages:
                old = stages[base]
                shutil.copytree(old.folder, stage.folder, symlinks=True)
                stage.environ, stage.said = dict(old.environ), dict(old.said)
            else:
                stage.folder.mkdir(parents=True)
            stages[new] = stage
        elif name == "ENV":
            stage.environ |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif name == "COPY":
            _copy(stage, stages, rest, context, ignored)
        elif name == "RUN" and "compileall" in rest:
            _run(stage, rest)
        else:
            stage.said[name] = rest
    return stages[target]


def _copy(
    stage: Stage, stages: dict[str, Stage], rest: str, context: Path, ignored: Ignored
) -> None:
    *sources, target = rest.split()
    if sources[0].startswith("--from="):
        origin, path = stages[sources[0].removeprefix("--from=")], sources[1]
        if path == PACKAGES:
            stage.inside(target).parent.mkdir(parents=True)
            stage.inside(target).symlink_to(sys.prefix)
        else:
            shutil.copytree(origin.inside(path), stage.inside(target))
        return
    for source in sources:
        _copy_from_context(stage, context, source, target, ignored)


def _copy_from_context(
    stage: Stage, context: Path, source: str, target: str, ignored: Ignored
) -> None:
    origin, place = context / source, stage.inside(target)
    assert origin.exists(), f"COPY {source}: there is no such file"
    files = [path for path in origin.rglob("*") if path.is_file()] if origin.is_dir() else [origin]
    kept = [path for path in files if not ignored(path.relative_to(context))]
    assert kept, f"COPY {source}: .dockerignore keeps it away"
    for path in kept:
        new = place / (path.relative_to(origin) if origin.is_dir() else path.name)
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, new)


def _run(stage: Stage, command: str) -> None:
    environ = {"PATH": f"{sys.prefix}/bin:{os.defpath}"}
    folder = stage.inside(".")
    subprocess.run(["sh", "-euc", command], check=True, cwd=folder, env=environ)

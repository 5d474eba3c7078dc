"""What the house tests know of the repository: its files, its modules, and how a test reports."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("RETORT_BUILD_DIR", ROOT / "build"))

# The lines of docs/ARCHITECTURE.md, "Modules", bottom first: a module may use only lower lines.
LEVELS = [
    ["base"],
    ["exchange", "sealing", "catalogue", "gguf"],
    ["llama", "tokens", "recipe", "store", "evidence", "terms", "net", "report", "origin"],
    ["provider", "callers", "api"],
    ["model", "evaluate", "dataset", "collect", "policy", "detect"],
    ["train", "exporter", "serve"],
    ["pipeline", "guard"],
    ["extauthz"],
]
LEVEL = {module: level for level, modules in enumerate(LEVELS) for module in modules}


def files(*suffixes):
    """The repository's files (tracked, or new and not ignored) whose names end in one of `suffixes`."""
    listing = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                             capture_output=True, check=False)
    if listing.returncode == 0:
        names = {name for name in listing.stdout.decode().split("\0") if name}
    else:  # a source archive: everything but build folders and runs
        names = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()}
        names = {name for name in names if not re.match(r"build|runs/|\.git/", name)}
    return sorted(pathlib.Path(name) for name in names
                  if (not suffixes or name.endswith(suffixes)) and (ROOT / name).is_file())


def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def without_comments_and_strings(code):
    """C++ with comments and literals blanked, line numbers kept: what the rules about code look at."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), code)


class HouseTest(unittest.TestCase):
    def refuse(self, complaints, rule):
        """Fails with all complaints at once, under the rule they break."""
        self.assertFalse(complaints, f"\n{rule}\n  " + "\n  ".join(complaints) if complaints else "")


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)

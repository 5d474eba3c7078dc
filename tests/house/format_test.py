"""All C++ files are in the form of .clang-format (`make format` puts them there)."""

import shutil
import subprocess
import unittest

from repository import ROOT, HouseTest, files, skip

PROGRAM = shutil.which("clang-format-16")


class FormatTest(HouseTest):
    def test_files_are_formatted(self):
        names = [str(path) for path in files(".h", ".cc")]
        result = subprocess.run([PROGRAM, "--dry-run", "-Werror", "--ferror-limit=1", *names], cwd=ROOT,
                                capture_output=True, text=True, check=False)
        complaints = sorted({line.split(":")[0] for line in result.stderr.splitlines() if "error:" in line})
        self.refuse(complaints, "Run `make format`.")
        self.assertEqual(result.returncode, 0, result.stderr)


if __name__ == "__main__":
    if PROGRAM is None:
        skip("clang-format-16 is not installed (`make lint` installs it)")
    unittest.main()

"""Tests that exist run: every test file is compiled, every test program is known to ctest and holds tests."""

import json
import os
import pathlib
import re
import subprocess
import unittest

from repository import BUILD, ROOT, HouseTest, files, text_of

CTEST = os.environ.get("RETORT_CTEST", "ctest")


class TestsTest(HouseTest):
    def setUp(self):
        listing = subprocess.run([CTEST, "--show-only=json-v1"], cwd=BUILD, capture_output=True, text=True, check=True)
        self.run = {argument for test in json.loads(listing.stdout)["tests"] for argument in test.get("command", [])}
        self.programs = {pathlib.Path(test["command"][0]) for test in json.loads(listing.stdout)["tests"]
                         if test.get("command")}
        self.compiled = {pathlib.Path(entry["file"]).resolve()
                         for entry in json.loads((BUILD / "compile_commands.json").read_text(encoding="utf-8"))}

    def test_every_source_is_compiled(self):
        complaints = [str(path) for path in files(".cc") if path.parts[0] in ("src", "apps", "benchmarks", "tests")
                      and not path.name.endswith("_fuzz.cc") and (ROOT / path).resolve() not in self.compiled]
        self.refuse(complaints, "A source file that no target compiles is not part of the project.")

    def test_every_test_program_runs(self):
        built = {path for path in (BUILD / "bin").glob("*_test") if path.is_file()}
        self.refuse([str(path.name) for path in sorted(built - self.programs)], "A test program that ctest does not run.")

    def test_every_script_of_tests_runs(self):
        scripts = [path for path in files("_test.py") if path.parts[0] == "tests"]
        self.refuse([str(path) for path in scripts if str((ROOT / path).resolve()) not in self.run], "A script of tests that ctest does not run.")

    def test_every_test_program_holds_its_tests(self):
        complaints = []
        for program in sorted(self.programs):
            match = re.fullmatch(r"retort_(\w+)_test", program.name)
            if not match or not program.exists():
                continue
            listing = subprocess.run([str(program), "--gtest_list_tests"], capture_output=True, text=True, check=False)
            found = len(re.findall(r"^  \S", listing.stdout, re.MULTILINE))
            written = sum(len(re.findall(r"^TEST(?:_F)?\(", text_of(path), re.MULTILINE))
                          for path in files("_test.cc") if path.parts[:2] == ("src", match.group(1)))
            if found == 0 or found < written:
                complaints.append(f"{program.name} lists {found} tests, {written} are written (exit {listing.returncode})")
        self.refuse(complaints, "Every written test is in its program.")

    def test_nothing_is_switched_off(self):
        complaints = [str(path) for path in files("_test.cc") if re.search(r"\bDISABLED_", text_of(path))]
        self.refuse(complaints, "A test that is switched off is removed, or skips itself with a reason.")


if __name__ == "__main__":
    unittest.main()

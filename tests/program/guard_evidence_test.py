"""`retort-guard verify` and `export`: what an auditor does with a folder of evidence."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

GUARD = os.environ.get("RETORT_GUARD", "build/bin/retort-guard")
MAKE = os.environ.get("RETORT_MAKE_EVIDENCE", "build/bin/retort_make_evidence")


class GuardEvidenceTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.evidence = self.root / "evidence"
        self.make(40)

    def tearDown(self):
        self.folder.cleanup()

    def make(self, count, *arguments):
        subprocess.run([MAKE, self.evidence, str(count), *arguments], check=True, timeout=60)

    def guard(self, *arguments, code=0):
        result = subprocess.run([GUARD, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False,
                                stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def report(self, *arguments, code=0):
        return json.loads(self.guard("verify", self.evidence, *arguments, "--json", code=code).stdout)

    def exported(self, *arguments, code=0):
        out = self.root / "e.jsonl"
        self.guard("export", self.evidence, "--out", out, *arguments, code=code)
        self.assertEqual(out.stat().st_mode & 0o777, 0o600)
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    def test_a_whole_record_holds(self):
        report = self.report()
        self.assertTrue(report["holds"] and report["closed_in_order"])
        self.assertEqual((report["admissions"], report["completions"], report["unsigned_records"]), (40, 32, 0))
        self.assertGreater(report["segments"], 1)
        words = self.guard("verify", self.evidence).stdout
        self.assertIn("The chain holds.", words)
        self.assertIn("--key", words)
        config = self.root / "guard.yaml"
        config.write_text("evidence: {path: evidence}\n", encoding="utf-8")
        self.guard("verify", config)

    def test_a_changed_byte_is_found_and_placed(self):
        segment = sorted(self.evidence.glob("*.evidence"))[1]
        good = segment.read_bytes()
        for place in (20, 100, len(good) // 2, len(good) - 1):
            changed = bytearray(good)
            changed[place] ^= 1
            segment.write_bytes(changed)
            report = self.report(code=1)
            self.assertEqual(report["break"]["segment"], segment.name)
            self.assertLessEqual(report["break"]["offset"], place)
        result = self.guard("verify", self.evidence, code=1)
        self.assertIn("does not hold", result.stderr)
        self.assertIn("The chain breaks.", result.stdout)
        # What is before the break is still exported, and the rest is missed.
        self.assertLess(len(self.exported(code=1)), 40)

    def test_a_cut_end_is_found_by_a_head_noted_earlier(self):
        head = self.report()["last_head"]["chain"]
        self.guard("verify", self.evidence, "--head", head)
        last = sorted(self.evidence.glob("*.evidence"))[-1]
        last.unlink()
        self.assertIn("head.json", self.report(code=1)["break"]["sentence"])
        (self.evidence / "head.json").unlink()
        self.report()  # can't be seen from the folder alone
        self.report("--head", head, code=1)
        self.guard("verify", self.evidence, "--head", "zz", code=2)

    def test_a_copy_of_the_public_key_unmasks_a_forger(self):
        copy = self.root / "copy.pub"
        shutil.copy(self.evidence / "signing.pem.pub", copy)
        self.guard("verify", self.evidence, "--key", copy)
        shutil.rmtree(self.evidence)
        self.make(40)
        self.report()
        self.assertIn("not signed by the key", self.report("--key", copy, code=1)["break"]["sentence"])

    def test_exchanges_are_exported_with_and_without_texts(self):
        lines = self.exported()
        self.assertEqual([line["id"] for line in lines], [f"ex_{i}" for i in range(40)])
        first = lines[0]
        self.assertEqual(first["request"]["messages"][0]["content"], "question 0")
        self.assertEqual(first["completion"], {"text": "answer 0", "finish": "stop"})
        self.assertEqual(first["usage"], {"input": 2, "output": 3, "reasoning": 0})
        self.assertEqual((first["account"], first["dialect"], first["status"], first["batch"]), ("a0", "openai.chat", 200, False))
        self.assertEqual(lines[4]["status"], 403)
        self.assertNotIn("completion", lines[4])
        bare = self.exported("--without-texts")
        self.assertNotIn("request", bare[0])
        (self.evidence / "master.key").unlink()
        self.assertEqual(self.exported(), bare)

    def test_a_killed_guards_record_holds_and_goes_on(self):
        self.make(10, "--killed")
        self.assertFalse(self.report()["closed_in_order"])
        self.make(5)
        report = self.report()
        self.assertTrue(report["closed_in_order"])
        self.assertEqual(report["admissions"], 55)

    def test_wrong_places_are_named(self):
        for arguments in (("verify", self.root / "nowhere"), ("verify", self.root), ("verify",),
                          ("export", self.root / "nowhere", "--out", "-"), ("export", self.evidence)):
            self.assertIn("expected" if len(arguments) > 1 and arguments[-1] != self.evidence else "required",
                          self.guard(*arguments, code=2).stderr)


if __name__ == "__main__":
    unittest.main()

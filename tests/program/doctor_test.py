"""`retort doctor` on caches that are empty, damaged and whole."""

import json
import pathlib
import tempfile
import unittest

from program import retort


class DoctorTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.cache = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def test_an_empty_cache_is_told_with_what_to_do(self):
        result = retort("doctor", "--quick", "--json", RETORT_CACHE=str(self.cache))
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(result.stdout)
        self.assertEqual(document["models"][0]["state"], "missing")
        self.assertTrue(any("make setup" in item["to_do"] for item in document["advice"]))
        self.assertGreater(document["machine"]["cores"], 0)
        self.assertTrue(all(part["present"] and part["version"] for part in document["parts"]))
        self.assertIsNone(document["compute"])

    def test_a_damaged_model_file_is_found_and_the_choice_is_explained(self):
        name = json.loads(retort("doctor", "--quick", "--json").stdout)["models"][0]["path"].rsplit("/", 1)[1]
        (self.cache / "models").mkdir()
        (self.cache / "models" / name).write_bytes(b"GGUF, but not the one")
        result = retort("doctor", "--json", RETORT_CACHE=str(self.cache))
        self.assertEqual(result.returncode, 1)
        self.assertIn("digest", result.stderr)
        document = json.loads(result.stdout)
        self.assertEqual(document["models"][0]["state"], "damaged")
        self.assertIn(document["compute"]["chosen"], ("float32", "bfloat16"))
        self.assertTrue(document["compute"]["reason"])
        self.assertTrue(all(speed["block_gflops"] > 0 for speed in document["compute"]["speeds"]))

    def test_people_get_a_page(self):
        result = retort("doctor", "--quick", RETORT_CACHE=str(self.cache))
        for title in ("Machine", "GPU", "Parts", "Models", "What to do"):
            self.assertIn(title, result.stdout)

    def test_a_wrong_flag_is_the_callers_fault(self):
        self.assertEqual(retort("doctor", "--nonsense").returncode, 2)


if __name__ == "__main__":
    unittest.main()

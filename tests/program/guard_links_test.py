"""`retort-guard` must stand where no model runs: neither libtorch nor llama.cpp is in it, nor in a library it loads."""

import os
import subprocess
import unittest

GUARD = os.environ["RETORT_GUARD"]


class GuardLinks(unittest.TestCase):
    def test_it_loads_neither(self):
        libraries = subprocess.run(["ldd", GUARD], capture_output=True, text=True, check=True).stdout
        for part in ("torch", "c10", "llama", "ggml", "mkl", "gomp"):
            self.assertNotIn(part, libraries)

    def test_neither_is_in_it(self):
        symbols = subprocess.run(["nm", "-C", "--defined-only", GUARD], capture_output=True, text=True, check=False).stdout
        self.assertGreater(len(symbols), 1000, "the program has no symbols to look at")
        for part in ("llama_", "ggml_", "at::Tensor", "torch::"):
            self.assertNotIn(part, symbols)


if __name__ == "__main__":
    unittest.main()

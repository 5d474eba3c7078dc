"""The lock file is sound, and scripts/parts.py keeps its promises against a package index on this machine.

The index is a folder served on the loopback address; pip is pointed at it by its own environment variables.
"""

import hashlib
import http.server
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile

from repository import ROOT, HouseTest, text_of

sys.path.insert(0, str(ROOT / "scripts"))
import parts  # noqa: E402

WHEEL = "tiny_part-1.0-py3-none-manylinux_2_17_x86_64.whl"


class LockFileTest(HouseTest):
    def setUp(self):
        self.pins = parts.Pins()

    def test_every_download_is_pinned_whole(self):
        complaints = []
        for name, pin in self.pins.downloads.items():
            if not re.fullmatch(r"[0-9a-f]{64}", pin.get("sha256", "")):
                complaints.append(f"{name}: sha256")
            if pin["version"] not in pin["file"] or not pin["bytes"].isdigit():
                complaints.append(f"{name}: version or size")
        for name, section in {**self.pins.parts, **self.pins.models}.items():
            complaints += [f"{name}: unknown download {origin}" for origin in section["from"].split()
                           if origin not in self.pins.downloads]
        self.refuse(complaints, "The lock file names version, file, size and digest of everything fetched.")

    def test_the_catalogue_agrees(self):
        catalogue = ROOT / "src/catalogue/catalogue.cc"
        if not catalogue.exists():
            self.skipTest("no catalogue yet")
        text = text_of("src/catalogue/catalogue.cc")
        self.refuse([f"{name}: file name or digest" for name, section in self.pins.models.items()
                     if name not in text or section["sha256"] not in text],
                    "src/catalogue and scripts/parts.lock name the same model files.")


class Index(http.server.BaseHTTPRequestHandler):
    """A package index with one file; can break off in the middle and can refuse to continue."""

    content = b""
    break_after = None  # bytes sent of the next file before the connection breaks
    ranges = True
    asked = []

    def do_GET(self):
        if not self.path.endswith(".whl"):
            body = f'<html><body><a href="/files/{WHEEL}">{WHEEL}</a></body></html>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        wanted = self.headers.get("Range")
        type(self).asked.append(wanted)
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and self.ranges else 0
        body = self.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        limit, type(self).break_after = self.break_after, None
        self.wfile.write(body if limit is None else body[:limit])

    def log_message(self, *arguments):
        pass


class PartsTest(HouseTest):
    def setUp(self):
        try:
            import pip  # noqa: F401
        except ImportError:
            self.skipTest("pip is not installed for this python3")
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as wheel:
            wheel.writestr("tiny/include/tiny.h", "// tiny\n")
            wheel.writestr("tiny/lib/unwanted.so", b"\0" * 1000)
            wheel.writestr("tiny/model.bin", bytes(range(256)) * 8192)
        Index.content, Index.break_after, Index.ranges, Index.asked = stream.getvalue(), None, True, []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.folder = tempfile.TemporaryDirectory()
        self.cache = pathlib.Path(self.folder.name) / "cache"
        self.write_lock(hashlib.sha256(Index.content).hexdigest())

    def tearDown(self):
        if hasattr(self, "server"):
            self.server.shutdown()
            self.server.server_close()
            self.folder.cleanup()

    def write_lock(self, digest):
        model = hashlib.sha256(bytes(range(256)) * 8192).hexdigest()
        (pathlib.Path(self.folder.name) / "lock").write_text(
            f"[download tiny]\npackage = tiny-part\nversion = 1.0\nfile = {WHEEL}\nsha256 = {digest}\n"
            f"bytes = {len(Index.content)}\n[part tiny]\nfolder = tiny-1.0\nfrom = tiny\nkeep = tiny/*\n"
            f"drop = tiny/lib/* tiny/model.bin\n[model model.bin]\nfrom = tiny\nmember = tiny/model.bin\nsha256 = {model}\n",
            encoding="utf-8")

    def ensure(self, *names):
        environment = {key: value for key, value in os.environ.items()
                       if not key.upper().startswith("PIP_") and not key.upper().endswith("_PROXY")}
        environment.update(PIP_INDEX_URL=f"http://127.0.0.1:{self.server.server_address[1]}/simple",
                           PIP_CONFIG_FILE="/dev/null", PIP_RETRIES="0", RETORT_CACHE=str(self.cache),
                           NO_PROXY="127.0.0.1")
        return subprocess.run([sys.executable, "-B", str(ROOT / "scripts/parts.py"), "--lock",
                               str(pathlib.Path(self.folder.name) / "lock"), "ensure", *names],
                              env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def partial(self):
        return self.cache / "downloads" / (WHEEL + ".part")

    def test_a_part_and_a_model_arrive_once(self):
        self.assertEqual((result := self.ensure()).returncode, 0, result.stderr)
        part = self.cache / "parts/tiny-1.0"
        self.assertTrue((part / "tiny/include/tiny.h").is_file())
        self.assertFalse((part / "tiny/lib/unwanted.so").exists())
        self.assertEqual((self.cache / "models/model.bin").stat().st_size, 256 * 8192)
        self.assertEqual(Index.asked, [None])
        self.server.shutdown()  # from here on there is no network
        self.assertEqual((result := self.ensure()).returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        self.assertFalse(list(self.cache.glob("*/.new-*")))

    def test_a_broken_connection_is_continued(self):
        Index.break_after = 1_000_000
        self.assertEqual((result := self.ensure()).returncode, 0, result.stderr)
        self.assertEqual(len(Index.asked), 2)
        start = int(re.fullmatch(r"bytes=(\d+)-", Index.asked[1]).group(1))
        self.assertGreater(start, 700_000)  # the block in flight may be lost, and no more
        self.assertLessEqual(start, 1_000_000)

    def test_a_killed_download_is_continued(self):
        self.partial().parent.mkdir(parents=True)
        self.partial().write_bytes(Index.content[:7777])
        self.assertEqual((result := self.ensure("tiny")).returncode, 0, result.stderr)
        self.assertEqual(Index.asked, ["bytes=7777-"])

    def test_a_server_that_cannot_continue_starts_again(self):
        Index.ranges = False
        self.partial().parent.mkdir(parents=True)
        self.partial().write_bytes(Index.content[:7777])
        self.assertEqual((result := self.ensure("tiny")).returncode, 0, result.stderr)

    def test_a_damaged_beginning_is_fetched_again(self):
        self.partial().parent.mkdir(parents=True)
        self.partial().write_bytes(b"x" * 5000)
        self.assertEqual((result := self.ensure("tiny")).returncode, 0, result.stderr)
        self.assertEqual(Index.asked, ["bytes=5000-", None])

    def test_another_file_under_the_name_is_refused(self):
        self.write_lock("0" * 64)
        result = self.ensure("tiny")
        self.assertEqual(result.returncode, 1)
        self.assertIn("was expected", result.stderr)
        self.assertFalse((self.cache / "parts/tiny-1.0").exists())
        self.assertFalse((self.cache / "downloads" / WHEEL).exists())

    def test_a_part_is_made_again_when_its_pins_change(self):
        self.assertEqual(self.ensure("tiny").returncode, 0)
        stamp = self.cache / "parts/tiny-1.0" / parts.STAMP
        stamp.write_text(json.dumps({"tiny": "an older digest"}), encoding="utf-8")
        (self.cache / "parts/tiny-1.0/tiny/stale").write_text("", encoding="utf-8")
        self.assertEqual(self.ensure("tiny").returncode, 0)
        self.assertFalse((self.cache / "parts/tiny-1.0/tiny/stale").exists())

    def test_an_unreachable_index_is_a_sentence(self):
        self.server.shutdown()
        self.server.server_close()
        result = self.ensure("tiny")
        self.assertEqual(result.returncode, 1)
        self.assertIn("error: ", result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


if __name__ == "__main__":
    unittest.main()

"""`retort serve` in a test: started, asked, and stopped."""

import http.client
import json
import os
import signal
import subprocess
import time

from program import PROGRAM


class Server:
    """A running server; `with` ends it."""

    def __init__(self, folder, model, *more, timeout_s=60, port=0):
        self.process = subprocess.Popen([PROGRAM, "serve", str(model), "--port", str(port), "--threads", "1", *more], cwd=folder,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = self.process.stdout.readline().decode()
        assert line.startswith("listening on http://127.0.0.1:"), (line, self.process.stderr.read())
        self.url = line.removeprefix("listening on ").strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        self.statuses = []  # of /health until it was ready
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.statuses.append(self.ask("GET", "/health")[0])
            if self.statuses[-1] == 200:
                return
            time.sleep(0.02)
        raise AssertionError("the model was not ready in time")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def ask(self, method, path, body=None):
        """(status, JSON of the answer)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else None
        finally:
            connection.close()

    def stream(self, path, body):
        """A connection whose answer streams, and its response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("POST", path, json.dumps({**body, "stream": True}))
        return connection, connection.getresponse()

    def stop(self, number=signal.SIGTERM):
        os.kill(self.process.pid, number)

    def wait(self, timeout_s=60):
        """(exit code, the rest of standard output)."""
        out, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out.decode()


def events(response):
    """The data of each event of a stream; JSON but for the last."""
    for line in response:
        text = line.decode().rstrip("\n")
        if text.startswith("data: "):
            text = text.removeprefix("data: ")
            yield text if text == "[DONE]" else json.loads(text)

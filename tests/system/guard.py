"""`retort-guard` in a test: its command line, and a running gateway."""

import http.client
import json
import os
import signal
import subprocess
import time

GUARD = os.environ["RETORT_GUARD_PROGRAM"]


def run_guard(arguments, folder, environment=None, timeout_s=60):
    """Runs the program in `folder`; gives (exit code, stdout, stderr)."""
    done = subprocess.run([GUARD, *map(str, arguments)], cwd=folder, capture_output=True, timeout=timeout_s, check=False,
                          env={**os.environ, **(environment or {})})
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def json_of(arguments, folder, **more):
    code, out, errors = run_guard([*arguments, "--json"], folder, **more)
    assert code == 0, (arguments, code, out, errors)
    return json.loads(out)


def add_account(folder, account, tier="verified", organisation=None):
    """An account with one key, whose text is returned."""
    if organisation:
        run_guard(["orgs", "add", "guard.yaml", organisation, "--by", "tests"], folder)  # may be there already
    return json_of(["keys", "create", "guard.yaml", "--account", account, "--tier", tier, "--by", "tests",
                    *(["--organisation", organisation] if organisation else [])], folder)["secret"]


class Guard:
    """A running gateway; `with` ends it."""

    def __init__(self, folder, configuration="guard.yaml", environment=None, admin_token="admin-secret", **more):
        self.folder = folder
        self.environment = {**os.environ, "GUARD_ADMIN": admin_token, "UPSTREAM_KEY": "provider-secret", **(environment or {})}
        self.log = open(folder / "guard.log", "ab")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen([GUARD, "serve", str(configuration)], cwd=folder, env=self.environment,
                                        stdout=subprocess.PIPE, stderr=self.log, **more)
        line = self.process.stdout.readline().decode()
        assert line.startswith("listening on "), (line, (folder / "guard.log").read_text())
        self.url = line.removeprefix("listening on ").strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        self.admin_token = admin_token
        self.admin_port = None

    def read_admin(self):
        line = self.process.stdout.readline().decode()
        self.admin_port = int(line.strip().rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()

    def stop(self, timeout_s=30):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask(self, method, path, body=None, key=None, headers=None, timeout_s=30):
        """(status, headers, bytes) of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def admin(self, method, path, body=None, token=None):
        if self.admin_port is None:
            self.read_admin()
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=30)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Authorization": f"Bearer {token or self.admin_token}"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metric(self, name):
        _, text = self.admin("GET", "/metrics")
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"retort_guard_{name}"))

    def wait(self, condition, timeout_s=10):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.05)
        return False

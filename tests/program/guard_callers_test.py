"""`retort-guard keys`, `accounts`, `orgs`, `verification`, `audit`: callers as an operator keeps them."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

GUARD = os.environ.get("RETORT_GUARD", "build/bin/retort-guard")


class GuardCallersTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.config = self.root / "guard.yaml"
        self.config.write_text("callers: {path: who}\n", encoding="utf-8")

    def tearDown(self):
        self.folder.cleanup()

    def run_guard(self, *arguments, read=""):
        return subprocess.run([GUARD, *map(str, arguments)], input=read, capture_output=True, text=True, timeout=60,
                              check=False, env={**os.environ, "USER": "ada"})

    def guard(self, *arguments, read=""):
        """The JSON that a verb prints."""
        result = self.run_guard(*arguments, "--json", read=read)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def refused(self, *arguments):
        result = self.run_guard(*arguments)
        self.assertEqual(result.returncode, 2, result.stdout + result.stderr)
        self.assertEqual(result.stdout, "")
        return result.stderr

    def test_a_key_is_shown_once(self):
        made = self.guard("keys", "create", self.config, "--account", "alice", "--expires", "90d", "--note", "laptop")
        self.assertEqual(set(made), {"id", "secret"})
        self.assertRegex(made["secret"], rf"^rg_{made['id']}_[0-9A-Za-z]{{38}}$")
        listing = self.run_guard("keys", "list", self.config, "--json").stdout
        keys = json.loads(listing)["keys"]
        self.assertEqual([(key["id"], key["account"], key["note"], key["revoked"]) for key in keys],
                         [(made["id"], "alice", "laptop", None)])
        hidden = made["secret"].rsplit("_", 1)[1][:32]
        self.assertNotIn(hidden, listing)
        for path in (self.root / "who").iterdir():
            self.assertNotIn(hidden.encode(), path.read_bytes(), path)
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)
        self.guard("keys", "revoke", self.config, made["id"])
        self.assertIsNotNone(self.guard("keys", "list", "--callers", self.root / "who")["keys"][0]["revoked"])
        self.guard("keys", "create", self.config)
        self.assertEqual(self.guard("keys", "list", self.config)["keys"][-1]["account"], "account-2")
        # Somebody who gives the whole key by mistake doesn't find it in a log.
        self.assertNotIn(hidden, self.refused("keys", "revoke", self.config, made["secret"]))

    def test_callers_are_lines(self):
        self.guard("orgs", "add", self.config, "acme", "--kind", "company")
        self.guard("keys", "create", self.config, "--account", "acme-1", "--organisation", "acme", "--tier", "verified",
                   "--plan-usd", "19.99")
        self.guard("accounts", "trait", self.config, "card", "--account", "acme-1", read="fp_1\n")
        self.guard("accounts", "trait", self.config, "email", "--organisation", "acme", read="Ada@Example.org\n")
        line, = self.guard("accounts", "list", self.config)["callers"]
        self.assertRegex(line.pop("payment")[0], r"^card:[0-9a-f]{32}$")
        self.assertRegex(line.pop("registration")[0], r"^email:[0-9a-f]{32}$")
        self.assertRegex(line.pop("created"), r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(line, {"account": "acme-1", "organisation": "acme", "tier": "verified", "kind": "company",
                                "kind_verified": False, "plan_usd_month": 19.99, "reseller": False, "attested": False})

    def test_owners_and_lists(self):
        self.guard("orgs", "add", self.config, "shell")
        owners = self.guard("orgs", "owners", self.config, "shell", "Holding=Co=50.0", "Y=33.333")
        self.assertEqual(owners, {"organisation": "shell", "listed": False, "owners": [
            {"owner": "Holding=Co", "percent": "50.0"}, {"owner": "Y", "percent": "33.333"}]})
        (self.root / "sdn.txt").write_text("# names\nHolding=Co\n", encoding="utf-8")
        self.guard("orgs", "listed", self.config, "sdn", self.root / "sdn.txt", "--date", "2026-11-01")
        self.assertTrue(self.guard("orgs", "owners", self.config, "shell")["listed"])
        self.config.write_text('callers: {path: who, listed_from: "50", or_more: false}\n', encoding="utf-8")
        self.assertFalse(self.guard("orgs", "owners", self.config, "shell")["listed"])
        self.assertIn("at most 100", self.refused("orgs", "owners", self.config, "shell", "X=50.0", "Y=50.1"))
        self.assertIn("says no stake", self.refused("orgs", "owners", self.config, "shell", "X"))

    def test_a_verification_raises_the_tier(self):
        self.guard("accounts", "add", self.config, "lab", "--kind", "research")
        number = self.guard("verification", "request", self.config, "--account", "lab", "--tier", "verified", "--kind",
                            "research")["number"]
        self.assertIn("cannot become raised", self.refused("verification", "raise", self.config, number, "--expires", "30d"))
        self.guard("verification", "receive", self.config, number, "--document", self.config)
        self.assertIn("has passed", self.refused("verification", "raise", self.config, number, "--expires", "2020-01-01"))
        self.guard("verification", "raise", self.config, number, "--expires", "30d", "--by", "bob")
        line, = self.guard("accounts", "list", self.config)["callers"]
        self.assertEqual((line["tier"], line["kind_verified"]), ("verified", True))
        self.guard("verification", "refuse", self.config, number, "--note", "forged")
        line, = self.guard("accounts", "list", self.config)["callers"]
        self.assertEqual((line["tier"], line["kind_verified"]), ("anonymous", False))
        trail = [(entry["who"], entry["what"]) for entry in self.guard("audit", self.config)["audit"]]
        self.assertEqual(trail[:4], [("ada", "verification.refused"), ("bob", "verification.raised"),
                                     ("ada", "verification.received"), ("ada", "verification.request")])

    def test_bad_input_is_a_sentence(self):
        self.assertIn("--callers FOLDER", self.refused("keys", "list"))
        self.assertIn("does not exist", self.refused("keys", "list", self.root / "absent.yaml"))
        self.assertIn("Did you mean '--account'?", self.refused("keys", "create", self.config, "--acount", "a"))
        self.assertIn("is no time", self.refused("keys", "create", self.config, "--account", "a", "--expires", "soon"))
        self.assertIn("is no word", self.refused("accounts", "add", self.config, "a", "--tier", "Very Good"))
        self.assertIn("There is no organisation", self.refused("keys", "create", self.config, "--account", "a",
                                                               "--organisation", "none"))
        self.config.write_text("callers: {paht: who}\n", encoding="utf-8")
        self.assertIn("did you mean 'path'?", self.refused("keys", "list", self.config).replace("Did", "did"))
        for verb in ("keys", "accounts", "orgs", "verification"):
            self.assertEqual(self.run_guard(verb).returncode, 2)
            self.assertIn("Subcommands", self.run_guard(verb, "--help").stdout)
        self.assertTrue(re.search(r"keys +create, revoke", self.run_guard("help").stdout))


if __name__ == "__main__":
    unittest.main()

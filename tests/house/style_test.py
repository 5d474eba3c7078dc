"""The style of the house, as far as a machine can see it. Each rule says why it is there."""

import re
import unittest

from repository import ROOT, HouseTest, files, text_of, without_comments_and_strings

MAX_LINES = 800

# Words that say nothing, in the names of types and files (DESIGN of names: docs/GLOSSARY.md).
EMPTY_WORDS = re.compile(r"\b(?:class|struct|enum class|using|concept)\s+(\w*(?:Manager|Helper|Utils?|Processor|Data|Info))\b")
EMPTY_FILE_WORDS = re.compile(r"(^|_)(manager|helpers?|utils?|processor|misc|common)(_|\.)")
ALLOWED_NAMES = {"TensorInfo": "the GGUF specification's own term"}

# Addresses of package registries are the business of the package client's configuration, never of this repository.
# Written in pieces, so that this file itself passes.
HOSTS = ["py" + "pi.org", "python" + "hosted.org", "deb." + "debian.org", "registry." + "npmjs.org", "crates" + ".io",
         "proxy." + "golang.org", "repo1." + "maven.org", "repo.maven." + "apache.org", "conda." + "anaconda.org"]
MACHINE_PATHS = re.compile(r"(?<![\w.-])(/root/|/work/(?:main|wt|shared)|/home/(?!USER|you|user)[a-z]\w*/|/tmp/(?:b|brief)/)")

TEXT = (".h", ".cc", ".cmake", ".txt", ".py", ".sh", ".md", ".json", ".yaml", ".yml", ".lock", "Makefile", ".html", ".css",
        ".js", "run", ".supp")


class StyleTest(HouseTest):
    def code(self, *roots):
        return [path for path in files(".h", ".cc") if path.parts[0] in roots]

    def test_files_stay_small(self):
        complaints = [f"{path}: {lines} lines" for path in files(".h", ".cc", ".py", ".sh", ".cmake")
                      if (lines := text_of(path).count("\n")) > MAX_LINES]
        self.refuse(complaints, f"A file holds one idea: at most {MAX_LINES} lines.")

    def test_libtorchs_parallel_for_is_not_used(self):
        complaints = [f"{path}" for path in self.code("src", "apps", "benchmarks")
                      if re.search(r"at::parallel_for\b", without_comments_and_strings(text_of(path)))]
        self.refuse(complaints, "at::parallel_for() computes on one thread here; model/parallel.h uses all.")

    def test_headers_open_with_what_they_are(self):
        complaints = []
        for path in self.code("src", "apps", "include", "benchmarks"):
            if path.suffix != ".h":
                continue
            text = text_of(path)
            opening = text.split("#pragma once")[0]
            if path.name.endswith("_body.h"):
                continue  # included several times on purpose, and named so
            if "#pragma once" not in text:
                complaints.append(f"{path}: no #pragma once")
            elif not opening.startswith("//"):
                complaints.append(f"{path}: no comment before #pragma once")
            elif re.search(r"^\s*#", opening, re.MULTILINE):
                complaints.append(f"{path}: something stands before #pragma once")
        self.refuse(complaints, "A header opens with a comment (what it is, what may be relied on, threads, owners), then "
                    "#pragma once.")

    def test_names_say_something(self):
        complaints = []
        for path in self.code("src", "apps", "include", "benchmarks", "tests"):
            code = without_comments_and_strings(text_of(path))
            complaints += [f"{path}: {name}" for name in EMPTY_WORDS.findall(code) if name not in ALLOWED_NAMES]
            if EMPTY_FILE_WORDS.search(path.name):
                complaints.append(f"{path}: the file's name")
            complaints += [f"{path}:{code[:match.start()].count(chr(10)) + 1}: {match.group(0)}"
                           for match in re.finditer(r"\b(alpha|lambda)\b", code)]
        self.refuse(complaints, "No Manager, Helper, Util, Processor, Data, Info; no bare alpha or lambda.")

    def test_libraries_never_print_or_exit(self):
        forbidden = re.compile(r"std::c(?:out|err|log)\b|\b(?:printf|fprintf|vprintf|puts|fputs|putchar|perror)\s*\("
                               r"|\b(?:std::)?(?:exit|_exit|quick_exit|abort|terminate)\s*\(|\bstd(?:out|err)\b")
        allowed = {"src/base/error.cc": "a broken invariant of ours aborts, with its place"}
        complaints = []
        for path in self.code("src"):
            if str(path) in allowed or re.search(r"_(test|fuzz|benchmark)\.cc$", path.name):
                continue
            code = without_comments_and_strings(text_of(path))
            complaints += [f"{path}:{code[:match.start()].count(chr(10)) + 1}: {match.group(0)}"
                           for match in forbidden.finditer(code)]
        self.refuse(complaints, "Libraries return errors and report progress; only apps/ print and exit.")

    def test_no_registry_is_named(self):
        complaints = [f"{path}: {host}" for path in files(*TEXT) for host in HOSTS if host in text_of(path).lower()]
        self.refuse(complaints, "Packages are asked for by name; where from is the client's configuration.")

    def test_no_path_of_a_machine(self):
        complaints = []
        for path in files(*TEXT):
            if path.name == "style_test.py":
                continue
            text = text_of(path)
            complaints += [f"{path}:{text[:match.start()].count(chr(10)) + 1}: {match.group(0)}"
                           for match in MACHINE_PATHS.finditer(text)]
        self.refuse(complaints, "Nothing depends on how one machine is laid out.")

    def test_sources_are_listed(self):
        complaints = [str(path) for path in files("CMakeLists.txt")
                      if re.search(r"file\s*\(\s*GLOB", text_of(path), re.IGNORECASE)]
        self.refuse(complaints, "Sources are listed by name, never by glob: what is built can be read.")

    def test_links_between_documents_lead_somewhere(self):
        complaints = []
        for path in files(".md"):
            prose = re.sub(r"```.*?```|`[^`\n]*`", "", text_of(path), flags=re.DOTALL)
            for target in re.findall(r"\]\(([^)\s]+)\)", prose):
                place = target.split("#")[0]
                if place and not re.match(r"[a-z]+:", place) and not (ROOT / path.parent / place).exists():
                    complaints.append(f"{path}: {target}")
        self.refuse(complaints, "A document does not speak of what has gone.")

    def test_lines_end_clean(self):
        complaints = []
        for path in files(*TEXT):
            text = text_of(path)
            if "\r" in text:
                complaints.append(f"{path}: carriage returns")
            if text and not text.endswith("\n") and path.suffix != ".json":  # some are golden, byte for byte
                complaints.append(f"{path}: no newline at the end")
            if path.suffix in (".h", ".cc", ".py", ".cmake", ".sh") and re.search(r"[ \t]+$|\t", text, re.MULTILINE):
                complaints.append(f"{path}: tabs, or spaces at the end of a line")
        self.refuse(complaints, "Text files end in a newline and hold no stray white space.")


if __name__ == "__main__":
    unittest.main()

"""The picture of the modules stays true: what is included is what is declared, and only downwards."""

import re
import unittest

from repository import BUILD, LEVEL, LEVELS, HouseTest, files, text_of

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
LLAMA_HEADERS = re.compile(r"^(llama\.h|llama-cpp\.h|ggml[\w-]*\.h|gguf\.h|jinja/|llama-common/|unicode\.h)")
TORCH_HEADERS = re.compile(r"^(torch|ATen|c10|caffe2)/")
NEAR_LLAMA = {"gguf", "tokens", "llama"}
NEAR_TORCH = {"model", "train", "exporter", "pipeline"}


def declared_edges():
    """{module: (modules it uses, modules only its tests use)} as CMake wrote them."""
    edges = {}
    for line in (BUILD / "modules.txt").read_text(encoding="utf-8").splitlines():
        if line.strip():
            name, _, rest = line.partition(":")
            uses, _, tests = rest.partition("|")
            edges[name.strip()] = (set(uses.split()), set(tests.split()))
    return edges


def module_of(path):
    return path.parts[1] if path.parts[0] == "src" and len(path.parts) > 2 else None


def is_test(path):
    return re.search(r"_(test|fuzz|benchmark)\.(cc|h)$|(^|/)test_[^/]*\.(h|cc)$", str(path)) is not None


class ModulesTest(HouseTest):
    def setUp(self):
        self.edges = declared_edges()
        self.sources = [path for path in files(".h", ".cc") if path.parts[0] in ("src", "apps")]

    def includes(self):
        for path in self.sources:
            for kind, target in INCLUDE.findall(text_of(path)):
                yield path, kind, target

    def test_every_module_has_a_level(self):
        folders = {path.parts[1] for path in self.sources if module_of(path)}
        self.refuse([f"src/{name} stands on no level; add it to LEVELS here and to docs/ARCHITECTURE.md"
                     for name in sorted(folders - set(LEVEL))], "Every module stands on one level.")
        self.refuse([f"src/{name} has no retort_module()" for name in sorted(folders - set(self.edges))],
                    "Every module with sources is built.")

    def test_edges_go_down(self):
        complaints = []
        for name, (uses, tests) in self.edges.items():
            for other in sorted(uses):
                if LEVEL.get(other, 99) >= LEVEL.get(name, -1):
                    complaints.append(f"{name} declares {other}, which isn't on a lower level")
            for other in sorted(tests):
                if LEVEL.get(other, 99) > LEVEL.get(name, -1):
                    complaints.append(f"the tests of {name} declare {other}, which is on a higher level")
        self.refuse(complaints, "A module uses only modules on lower levels: "
                    + " < ".join("/".join(level) for level in LEVELS))

    def test_what_is_included_is_declared(self):
        complaints = []
        for path, kind, target in self.includes():
            name, other = module_of(path), target.split("/")[0]
            if name not in self.edges or kind != '"' or other not in LEVEL or other == name or "/" not in target:
                continue
            uses, tests = self.edges[name]
            if other not in (uses | tests if is_test(path) else uses):
                complaints.append(f'{path} includes "{target}", and {name} does not declare {other}')
        self.refuse(complaints, "What a module includes, its CMakeLists.txt declares (DEPENDS, TEST_DEPENDS).")

    def test_what_is_declared_is_included(self):
        used = {(module_of(path), target.split("/")[0]) for path, kind, target in self.includes() if kind == '"'}
        complaints = [f"{name} declares {other} and includes nothing of it"
                      for name, (uses, tests) in self.edges.items() for other in sorted(uses | tests)
                      if (name, other) not in used]
        self.refuse(complaints, "No edge is declared that isn't used.")

    def test_own_headers_are_in_quotation_marks(self):
        complaints = [f"{path} includes <{target}>" for path, kind, target in self.includes()
                      if kind == "<" and any(str(source) == f"src/{target}" for source in self.sources)]
        self.refuse(complaints, 'Our own headers are included as "module/file.h".')

    def test_only_three_modules_know_llama_cpp(self):
        complaints = [f"{path} includes {target}" for path, _, target in self.includes()
                      if LLAMA_HEADERS.match(target) and module_of(path) not in NEAR_LLAMA]
        self.refuse(complaints, f"Only {', '.join(sorted(NEAR_LLAMA))} include llama.cpp or ggml.")

    def test_only_four_modules_know_libtorch(self):
        complaints = [f"{path} includes {target}" for path, _, target in self.includes()
                      if TORCH_HEADERS.match(target) and module_of(path) not in NEAR_TORCH]
        self.refuse(complaints, f"Only {', '.join(sorted(NEAR_TORCH))} include libtorch.")


if __name__ == "__main__":
    unittest.main()

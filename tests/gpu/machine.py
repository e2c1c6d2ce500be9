"""What the steps of run.py run in: commands under a time limit, a log and a record that are whole at every moment, and
where this machine keeps CUDA's libraries. The standard library alone: where this runs, nothing else may be there."""
import glob
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import time

GRACE = 3  # seconds that are left for the summary
LAST_WORDS = 2  # seconds in which what is cut may say what it has found


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Cut(Exception):
    pass


class Stopped(BaseException):
    """By a signal: what is left of the steps is cut."""


def stop(*_):
    for repeated in (signal.SIGTERM, signal.SIGINT):
        signal.signal(repeated, signal.SIG_IGN)
    raise Stopped()


def end(children, how):
    """Them, with all that they started."""
    for child in children:
        try:
            os.killpg(child.pid, how)
        except ProcessLookupError:
            pass


class Run:
    """Steps one after the other, each with the seconds it may take, all together within `seconds`."""

    def __init__(self, out, work, seconds):
        self.out, self.work = out, work
        self.started = time.monotonic()
        self.end = self.started + seconds - GRACE
        self.env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="STDOUT", TMPDIR=work, PYTHONUNBUFFERED="1")
        self.records, self.figures, self.stopped = [], {}, False
        self.log_path = os.path.join(out, "steps.log")
        self.log = open(self.log_path, "wb", buffering=0)
        self.lines = open(os.path.join(out, "steps.jsonl"), "w")

    def say(self, text):
        self.log.write((text + "\n").encode())

    def step(self, name, most, work):
        """Runs work(run); its verdict, and the figures that it left in run.figures, are a line of steps.jsonl. A step that is
        cut has failed if it left a figure `failed` that is not 0."""
        begun = time.monotonic()
        left = self.end - begun
        self.limit = min(most, left)
        self.due, self.figures = begun + self.limit, {}
        self.say("\n==== %s, %.0f s at most" % (name, max(self.limit, 0)))
        self.from_byte = os.path.getsize(self.log_path)
        verdict, why = "passed", ""
        try:
            if self.stopped or left < 1:
                raise Cut("no time was left" if not self.stopped else "the run was stopped")
            work(self)
        except Cut as e:
            verdict, why = "cut", str(e)
            if self.figures.get("failed"):
                verdict, why = "failed", "%d failures, then %s" % (self.figures["failed"], why)
        except Skipped as e:
            verdict, why = "skipped", str(e)
        except Stopped:
            verdict, why, self.stopped = "cut", "the run was stopped", True
        except Exception as e:  # a step that breaks must not take the others along
            verdict, why = "failed", str(e) if isinstance(e, Failed) else "%s: %s" % (type(e).__name__, e)
        record = {"step": name, "verdict": verdict, "seconds": round(time.monotonic() - begun, 2)}
        record.update({"why": why} if why else {})
        record.update(self.figures)
        self.records.append(record)
        self.lines.write(json.dumps(record) + "\n")
        self.lines.flush()
        self.say("==== %s: %s %s" % (name, verdict, why))
        print("%-28s %-8s %6.1f s  %s" % (name, verdict, record["seconds"], why[:120]), flush=True)

    def output(self):
        """What the commands of this step have printed so far."""
        with open(self.log_path, "rb") as f:
            f.seek(self.from_byte)
            return f.read().decode(errors="replace")

    def codes(self, jobs):
        """The exit codes of commands that run beside each other, each (words, changes of the environment)."""
        children = []
        try:
            for words, more in jobs:
                self.say("$ " + " ".join(words))
                children.append(subprocess.Popen(words, env=dict(self.env, **more), stdin=subprocess.DEVNULL,
                                                 stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True))
            return [child.wait(max(self.due - time.monotonic(), 0.1)) for child in children]
        except subprocess.TimeoutExpired:
            end(children, signal.SIGINT)
            until = time.monotonic() + LAST_WORDS
            while time.monotonic() < until and any(child.poll() is None for child in children):
                time.sleep(0.05)
            raise Cut("at its limit of %.0f s" % self.limit)
        finally:
            end(children, signal.SIGKILL)
            for child in children:
                child.wait()

    def code(self, words, **more):
        return self.codes([(words, more)])[0]

    def command(self, words, **more):
        """What a command printed; it must end with 0."""
        before = len(self.output())
        code = self.code(words, **more)
        text = self.output()[before:]
        if code != 0:
            said = [line for line in text.splitlines()[1:] if line.strip()]
            raise Failed("%s: exit status %d%s" % (os.path.basename(words[0]), code, ": " + said[-1][:200] if said else ""))
        return text


def library_folders():
    """Where toolkits and Python's packages put CUDA's libraries, the newest toolkit first, and containers the driver's."""
    for pattern in ("lib64", "lib", "targets/*/lib"):
        yield from sorted(glob.glob("/usr/local/cuda*/" + pattern), reverse=True)
    sites = [p for p in sys.path if p] + site.getsitepackages() + [site.getusersitepackages()]
    for folder in dict.fromkeys(sites):
        yield from sorted(glob.glob(os.path.join(folder, "nvidia", "*", "lib")), reverse=True)
        yield os.path.join(folder, "torch", "lib")
    yield from ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib")


def loader_knows():
    """The loader's cache, as text."""
    for words in (["ldconfig", "-p"], ["/sbin/ldconfig", "-p"]):
        try:
            return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        except OSError:
            pass
    return ""


def not_found(program, env):
    """Names of the libraries that the loader does not find for it."""
    done = subprocess.run([program], env=dict(env, LD_TRACE_LOADED_OBJECTS="1"), stdout=subprocess.PIPE, text=True)
    return [line.split()[0] for line in done.stdout.splitlines() if line.endswith("=> not found")]


def find_libraries(program, env, also):
    """Adds to LD_LIBRARY_PATH where what `program` lacks lies, and what it loads later (`also`); what is still lacking. Its
    own folder lib is among the places: without /proc the loader does not know where a program lies."""
    places = [os.path.join(os.path.dirname(program), "lib")] + list(library_folders())
    known, path = loader_knows(), [p for p in env.get("LD_LIBRARY_PATH", "").split(":") if p]
    later = [n for n in also if n not in known and not any(os.path.exists(os.path.join(p, n)) for p in path)]
    for name in not_found(program, env) + later:
        path += [f for f in places if os.path.exists(os.path.join(f, name))][:1]
    if path:
        env["LD_LIBRARY_PATH"] = ":".join(dict.fromkeys(path))
    return not_found(program, env)


def find_tool(name, env):
    """A profiler or checker of NVIDIA's, which need not be on PATH."""
    found = shutil.which(name, path=env.get("PATH"))
    places = ("/usr/local/cuda*/bin/", "/usr/local/cuda*/compute-sanitizer/", "/opt/nvidia/nsight-compute/*/",
              "/usr/local/cuda*/nsight-compute*/")
    return found or next((p for place in places for p in sorted(glob.glob(place + name), reverse=True)), None)

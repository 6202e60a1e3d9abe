"""What `run` and `noded` share: processes and their clocks, builds, tables."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICK = os.sysconf("SC_CLK_TCK")


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text):
    """Replaces a file as Ganeti does: whole, by rename."""
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- processes -------------------------------------------------------------

def stat_of(pid):
    """(parent, CPU seconds with those of reaped children); None if it is gone."""
    try:
        fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
    except OSError:
        return None
    return int(fields[1]), sum(int(x) for x in fields[11:15]) / TICK


def tree(root):
    """The process and all its descendants that are alive."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        stat = stat_of(name)
        if stat:
            children.setdefault(stat[0], []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def tree_cpu(root):
    return sum(stat[1] for stat in map(stat_of, tree(root)) if stat)


def tree_memory(root):
    """KiB of the whole tree: resident, and its own anonymous memory (shared pages split)."""
    total = {"Rss:": 0, "Pss_Anon:": 0}
    for pid in tree(root):
        try:
            lines = read(f"/proc/{pid}/smaps_rollup").splitlines()
        except OSError:
            continue
        for word, value, *_ in (line.split() for line in lines[1:]):
            if word in total:
                total[word] += int(value)
    return total["Rss:"], total["Pss_Anon:"]


def machine_cpu():
    """(busy, total) seconds of all cores."""
    n = [int(x) for x in read("/proc/stat").split("\n", 1)[0].split()[1:9]]
    return (sum(n) - n[3] - n[4]) / TICK, sum(n) / TICK


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def root_port():
    """A port that only root may take, as noded's is by the documentation; any free one if this is not root."""
    for port in range(1023, 600, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except PermissionError:
                break
            except OSError:
                continue
    return free_port()


class Process:
    """A process that this script started; ended by its process ids and no other way."""

    def __init__(self, argv, port, log):
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.pid = self.popen.pid
        for _ in range(2000):
            try:
                socket.create_connection(("127.0.0.1", port), 0.5).close()
                return
            except OSError:
                if self.popen.poll() is not None:
                    break
                time.sleep(0.01)
        self.stop()
        raise SystemExit(f"{argv[0]} does not listen:\n{read(log)[-2000:]}")

    def stop(self):
        pids = tree(self.pid)[1:]
        self.popen.terminate()
        try:
            self.popen.wait(3)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        for pid in pids:  # workers that outlived their master
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


# ---- builds and their output --------------------------------------------------

def cargo(args, *words):
    """Builds; the path of the program that the last word names."""
    argv = ["cargo", *words, *args.cargo.split(), "--message-format=json-render-diagnostics"]
    out = subprocess.run(argv, cwd=args.root, stdout=subprocess.PIPE, text=True, check=True).stdout
    built = map(json.loads, out.splitlines())
    return [b["executable"] for b in built
            if b.get("executable") and b["target"]["name"] == words[-1]][-1]


def load(loader, mode, **options):
    """Starts one run of the load generator."""
    argv = [loader, mode]
    for name, value in options.items():
        argv += ["--" + name.replace("_", "-"), str(value)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process):
    """The last line that it prints."""
    try:
        out, _ = process.communicate(timeout=120)
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise SystemExit(f"the load generator failed: {process.args}")
    return json.loads(out.splitlines()[-1])


# ---- reports ------------------------------------------------------------------

def percentile(values, share):
    values = sorted(values)
    return values[round((len(values) - 1) * share)] if values else float("nan")


def show(x):
    if x != x:
        return ""
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}" if abs(x) >= 100 else f"{x:#.3g}"


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def machine():
    info = dict(line.split(":", 1) for line in read("/proc/cpuinfo").splitlines() if ":" in line)
    info = {key.strip(): value.strip() for key, value in info.items()}
    return (f"{os.cpu_count()} cores of {info.get('model name', os.uname().machine)} "
            f"(family {info.get('cpu family')}, model {info.get('model')}), "
            f"Linux {os.uname().release.split('-')[0]}")

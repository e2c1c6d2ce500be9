#!/usr/bin/env python3
"""Lists the includes of src/ that run upwards, from a room into one above it, or in circles between files.

Rooms, from the ground up: what stands in one may include its own room and those before it. Also type names with two
meanings. Exits 1 if any is listed."""
import os
import re
import sys

ROOMS = ["kdiffe", "host/base", "kernels", "host/config", "host/ranks", "host/data", "host/graph", "host/attention",
         "host/eval", "host/loop", "host/model", "host/train", "host/report", "host/api",
         "kernels/ref", "host/bench", "host/cli"]


def room_of(path):
    """The index of the longest room that the path lies in, -1 for none."""
    best = -1
    for index, room in enumerate(ROOMS):
        if path.startswith(room + "/") and (best < 0 or len(room) > len(ROOMS[best])):
            best = index
    return best


def included(path):
    with open(path, encoding="utf-8") as file:
        return re.findall(r'^#\s*include "((?:host|kernels|kdiffe)/[^"]+)"', file.read(), re.MULTILINE)


def unit(path):
    """A source file and its header are one."""
    return os.path.splitext(path)[0]


def read_tree(root):
    edges = {}
    for folder, _, names in os.walk(os.path.join(root, "src")):
        for name in names:
            if name.endswith((".c", ".h", ".cu")):
                path = os.path.join(folder, name)
                edges.setdefault(os.path.relpath(path, os.path.join(root, "src")), []).extend(included(path))
    return edges


def upward(edges):
    for path, names in sorted(edges.items()):
        for name in names:
            if room_of(path) < 0 or room_of(name) < 0 or room_of(name) > room_of(path):
                yield f"src/{path}: includes {name}, which is of a room above it"


def circles(edges):
    """Pairs of units, each of which reaches the other."""
    graph = {}
    for path, names in edges.items():
        graph.setdefault(unit(path), set()).update(unit(name) for name in names if unit(name) != unit(path))
    reach = {}
    for start in graph:
        seen, left = set(), [start]
        while left:
            for other in graph.get(left.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    left.append(other)
        reach[start] = seen
    for a in sorted(graph):
        for b in sorted(reach[a]):
            if a < b and a in reach.get(b, ()):
                yield f"src/{a} and src/{b} include each other in a circle"


def types(root):
    """Names of types that more than one file defines."""
    found = {}
    for folder in ("src", "include"):
        for path, _, names in os.walk(os.path.join(root, folder)):
            for name in names:
                if name.endswith((".c", ".h", ".cu")):
                    with open(os.path.join(path, name), encoding="utf-8") as file:
                        for kind in re.findall(r"typedef (?:struct|enum|union) (kd_\w+) \{", file.read()):
                            found.setdefault(kind, []).append(os.path.relpath(os.path.join(path, name), root))
    for kind, paths in sorted(found.items()):
        if len(paths) > 1:
            yield f"{kind} is defined by {' and '.join(sorted(paths))}"


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    edges = read_tree(root)
    found = list(upward(edges)) + list(circles(edges)) + list(types(root))
    for line in found:
        print(line)
    if not found:
        print(f"includes: {len(edges)} files, none upwards, none in a circle")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

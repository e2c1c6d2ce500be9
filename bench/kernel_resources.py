#!/usr/bin/env python3
"""Registers, shared memory and spills of every CUDA kernel, as a Markdown table.

usage: kernel_resources.py NVCC ARCH... -- FILE.cu...    (make kernels-table fills this in)

Compiles each file for each architecture with --resource-usage and reads what ptxas says. Columns: kernel; file; and for each
architecture registers a thread, static shared memory a block in bytes, bytes spilled (stores + loads). Exits 1 if a kernel
spills.
"""
import os
import re
import subprocess
import sys

FUNCTION = re.compile(r"Function properties for (\S+)|Compiling entry function '(\S+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?, (\d+) bytes smem)?")


def demangle(names):
    out = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, out.splitlines()))


def usage(nvcc, arch, path):
    """{mangled kernel name: (registers, shared bytes, spilled bytes)}"""
    command = [nvcc, "-std=c++17", "-O3", "-arch=" + arch, "--resource-usage", "-Iinclude", "-Isrc", "-c", path, "-o", os.devnull]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    kernels, name, spilled = {}, None, 0
    for line in log.splitlines():
        found = FUNCTION.search(line)
        if found:
            name, spilled = found.group(1) or found.group(2), 0
        found = SPILLS.search(line)
        if found:
            spilled = int(found.group(1)) + int(found.group(2))
        found = USED.search(line)
        if found and name:
            kernels[name] = (int(found.group(1)), int(found.group(2) or 0), spilled)
    return kernels


def main():
    if "--" not in sys.argv or sys.argv.index("--") < 3:
        sys.exit(__doc__)
    cut = sys.argv.index("--")
    nvcc, archs, files = sys.argv[1], sys.argv[2:cut], sys.argv[cut + 1:]
    spills = False
    print("| kernel | file | " + " | ".join("%s registers | shared B | spilled B" % a for a in archs) + " |")
    print("|---|---|" + "---:|" * (3 * len(archs)))
    for path in files:
        tables = [usage(nvcc, arch, path) for arch in archs]
        names = demangle(sorted(tables[0])) if tables[0] else {}
        for mangled, name in sorted(names.items(), key=lambda pair: pair[1]):
            cells = []
            for table in tables:
                registers, shared, spilled = table[mangled]
                spills = spills or spilled > 0
                cells.append("%d | %d | %d" % (registers, shared, spilled))
            print("| `%s` | %s | %s |" % (re.sub(r"\(\w+\)(?=\d)", "", name).split("(")[0], os.path.basename(path), " | ".join(cells)))
    sys.exit(1 if spills else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Makes what `make determinism` runs other processors' images in: emulators, and cells for them.

Debian's qemu-user runs programs of other processors on this kernel, with floating point of its own, in software. It has none of
the calls that the second wall is made of, so the cells are `eider-bare-cell`, which has no such wall; they run this repository's
own engine. The cell for 64-bit ARM is built with Debian's rustc, which has that architecture's standard library in a package (the
toolchain's own server is not a package registry), and with the C compiler and linker of the engine's build.

Usage: emulated.py OUT BARE_CELL
  OUT         a folder of the build tree; `aarch64-cell` and `x86-64-cell` in it are the cells
  BARE_CELL   `eider-bare-cell`, built for this machine
"""
import importlib.util, os, shlex, subprocess, sys, zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
TARGET = "aarch64-unknown-linux-gnu"


def module(name, path):
    spec = importlib.util.spec_from_file_location(name, os.path.join(TOP, path))
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


image = module("image", "guest/image/build.py")
engine = module("engine", "guest/duckdb/build.py")


def say(text):
    print(f"emulated: {text}", flush=True)


def script(path, *lines):
    with open(path + ".part", "w") as f:
        f.write("\n".join(["#!/bin/sh", *lines]) + "\n")
    os.chmod(path + ".part", 0o755)
    os.replace(path + ".part", path)
    return path


def unpack(out):
    """The packages' files under OUT/root, and the engine's C compiler under OUT/zig."""
    root = os.path.join(out, "root")
    stamp = os.path.join(out, "unpacked")
    with open(os.path.join(HERE, "packages.lock")) as f:
        lock = f.read()
    if os.path.exists(stamp) and open(stamp).read() == lock:
        return root
    for name, path in image.fetch(out, os.path.join(HERE, "packages.lock")).items():
        say(f"unpacking {name}")
        image.unpack(path, root)
    os.makedirs(os.path.join(out, "downloads"), exist_ok=True)
    wheel = engine.fetch_wheel(out, "ziglang", *engine.WHEELS["ziglang"])
    with zipfile.ZipFile(wheel) as z:
        z.extractall(os.path.join(out, "zig"))
    os.chmod(os.path.join(out, "zig", "ziglang", "zig"), 0o755)
    with open(stamp, "w") as f:
        f.write(lock)
    return root


def build(out, root):
    """`eider-bare-cell` for 64-bit ARM; its path."""
    quoted, zig = shlex.quote(root), shlex.quote(os.path.join(out, "zig", "ziglang", "zig"))
    rustc = script(os.path.join(out, "rustc"), f"LD_LIBRARY_PATH={quoted}/usr/lib/x86_64-linux-gnu exec {quoted}/usr/bin/rustc \"$@\"")
    # zig names targets otherwise than clang, and has what libgcc unwinds with in LLVM's libunwind.
    cc = script(os.path.join(out, "cc"),
                'for word; do shift; case "$word" in --target=*|-lgcc) continue;; -lgcc_s) word=-lunwind;; esac; set -- "$@" "$word"; done',
                f'exec {zig} cc -target aarch64-linux-gnu.2.36 "$@"')
    ar = script(os.path.join(out, "ar"), f'exec {zig} ar "$@"')
    target = os.path.join(out, "target")
    name = TARGET.replace("-", "_")
    environment = {**os.environ, "RUSTC": rustc, "CARGO_TARGET_DIR": target, "ZIG_GLOBAL_CACHE_DIR": os.path.join(out, "zig-cache"),
                   f"CC_{name}": cc, f"AR_{name}": ar, f"CARGO_TARGET_{name.upper()}_LINKER": cc,
                   # The engine's code is compiled elsewhere: this program only loads it.
                   "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1"}
    say("building a cell for 64-bit ARM: about 6 minutes on two cores the first time")
    subprocess.run([os.environ.get("CARGO", "cargo"), "build", "--release", "--locked", "--quiet", "-p", "eider-bare-cell", "--target", TARGET],
                   check=True, cwd=TOP, env=environment)
    return os.path.join(target, TARGET, "release", "eider-bare-cell")


def main():
    out, here = map(os.path.abspath, sys.argv[1:3])
    os.makedirs(out, exist_ok=True)
    root = unpack(out)
    arm = build(out, root)
    for name, emulator, cell in (("aarch64-cell", f"qemu-aarch64-static -L {shlex.quote(root)}", arm),
                                 ("x86-64-cell", "qemu-x86_64-static -cpu max", here)):
        command = os.path.join(root, "usr/bin", emulator.split()[0])
        script(os.path.join(out, name), f'exec {shlex.quote(command)} {" ".join(emulator.split()[1:])} {shlex.quote(cell)} "$@"')
    say("an aarch64 and an x86-64 machine are ready")


if __name__ == "__main__":
    main()

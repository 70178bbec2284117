#!/usr/bin/env python3
"""Boots the guest image in an emulated machine without a TEE, through the firmware that an SNP host would start, and has it
run a job for a requester outside; then shows that the firmware starts nothing else than what was measured.

QEMU writes the page of hashes into memory itself only for a SEV guest, which hashes it into the measurement. Here the same bytes,
made by the tool that computes the measurement, are put at the same address; the hash of the kernel in them is of the kernel as
QEMU hands it out without SEV, with where things are in its header. Everything else is as on an SNP host, except that memory is
not encrypted and no report can be asked for. `--twice` builds all of it again at another path, by another user, and compares.

Usage: check.py OUT EIDER [--twice [--program FILE]]
  --program   as of build.py: then all but the program is built twice
"""
import argparse, json, os, re, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time

import build

# Emulation of one processor on a shared machine.
PATIENCE = 600
# Bytes that the guest is given; an image that needs more than this is too large.
MEMORY = 2 << 30


def need_qemu():
    if not shutil.which("qemu-system-x86_64"):
        if os.geteuid() != 0:
            build.fail("qemu is missing: apt-get install --no-install-recommends qemu-system-x86")
        build.say("installing qemu")
        build.run(["apt-get", "install", "-y", "--no-install-recommends", "qemu-system-x86"], "apt-get")


def as_handed_out(kernel, initrd):
    """The kernel's bytes as QEMU gives them to a guest without SEV (hw/i386/x86.c, `x86_load_linux`), which the Linux boot protocol
    has fields for: loader, heap, command line, initrd. To an SEV guest it gives the file as it is."""
    with open(kernel, "rb") as f:
        data = bytearray(f.read())
    size = os.path.getsize(initrd)
    data[0x210] = 0xB0
    data[0x211] |= 0x80
    struct.pack_into("<II", data, 0x218, (MEMORY - 0x28000 - 1 - size) & ~4095, size)
    struct.pack_into("<H", data, 0x224, 0xFE00)
    struct.pack_into("<I", data, 0x228, 0x20000)
    return bytes(data)


def hashes(out, damage=None):
    """The page of hashes of the image, with `damage` to one of the three; its address, and a file."""
    build.tool(out)
    from sevsnpmeasure import ovmf, sev_hashes
    initrd = os.path.join(out, "initrd.cpio")
    with tempfile.NamedTemporaryFile(dir=out) as kernel:
        kernel.write(as_handed_out(os.path.join(out, "vmlinuz"), initrd))
        kernel.flush()
        found = sev_hashes.SevHashes(kernel.name, initrd, build.CMDLINE)
    if damage:
        name = f"{damage}_hash"
        setattr(found, name, bytes([getattr(found, name)[0] ^ 1]) + getattr(found, name)[1:])
    at = ovmf.OVMF(os.path.join(out, "OVMF.fd")).sev_hashes_table_gpa()
    with tempfile.NamedTemporaryFile(delete=False, dir=out, prefix="hashes-") as f:
        f.write(found.construct_table())
    return at, f.name


class Machine:
    """The image in QEMU. Its console is read by a thread, line by line."""

    def __init__(self, out, table, port):
        at, file = table
        path = lambda name: os.path.join(out, name)
        self.lines, self.changed = [], threading.Condition()
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-M", "pc-q35-7.1", "-smp", "1", "-m", str(MEMORY >> 20),
             "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot", "-bios", path("OVMF.fd"), "-kernel", path("vmlinuz"),
             "-initrd", path("initrd.cpio"), "-append", build.CMDLINE, "-device", f"loader,addr={at:#x},file={file},force-raw=on",
             "-netdev", f"user,id=net,hostfwd=udp:127.0.0.1:{port}-:7440",
             "-device", "virtio-net-pci,netdev=net,disable-legacy=on,romfile="],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            line = re.sub(r"\x1b\[[0-9;=?]*[A-Za-z]", "", line.decode(errors="replace")).strip()
            if line:
                print(f"    | {line[:150]}", flush=True)
                with self.changed:
                    self.lines.append(line)
                    self.changed.notify_all()
        with self.changed:
            self.lines.append(None)
            self.changed.notify_all()

    def wait(self, pattern, seconds):
        """The first line that fits, or None when the time is over or the machine has ended."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while True:
                for line in self.lines:
                    if line is not None and (found := re.search(pattern, line)):
                        return found
                left = deadline - time.monotonic()
                if left <= 0 or None in self.lines:
                    return None
                self.changed.wait(left)

    def end(self):
        self.process.kill()
        self.process.wait()


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def runs_a_job(out, eider):
    """Whether a requester outside gets a verified answer; and how long the image took to come up, seconds."""
    port, began = free_port(), time.monotonic()
    table = hashes(out)
    machine = Machine(out, table, port)
    try:
        listening = machine.wait(r"listening \S+#(\S+)", PATIENCE) or build.fail("the image did not come up")
        up = time.monotonic() - began
        build.say(f"it came up in {up:.0f} s of emulation")
        with tempfile.TemporaryDirectory() as home:
            csv = os.path.join(home, "t.csv")
            with open(csv, "w") as f:
                f.write("n\n" + "\n".join(map(str, range(1000))) + "\n")
            done = subprocess.run(
                [eider, "query", "-k", "1", "--quorum", "1", "--worker", f"127.0.0.1:{port}#{listening[1]}", "--stall", "60s",
                 "--memory", "256MiB", "--max-result", "1MiB", "--format", "csv", "-i", f"t={csv}",
                 "SELECT sum(n) AS s, count(*) AS c FROM t"],
                env={**os.environ, "EIDER_HOME": home}, capture_output=True, text=True, timeout=PATIENCE)
        print(done.stderr.strip())
        if done.returncode != 0 or done.stdout.split() != ["s,c", "499500,1000"]:
            build.fail(f"the job did not come out right: {done.returncode} {done.stdout!r}")
        return up
    finally:
        machine.end()
        os.unlink(table[1])


def starts(out, up, damage):
    """Whether the guest's first process speaks, when one of the hashes is not that of what QEMU gives."""
    table = hashes(out, damage)
    machine = Machine(out, table, free_port())
    try:
        return machine.wait("guest:", 2 * up + 20) is not None
    finally:
        machine.end()
        os.unlink(table[1])


def again(out, program):
    """Builds all at another path, as another user, and compares what is measured."""
    with tempfile.TemporaryDirectory(prefix="guest-image-of-somebody-else-") as other:
        tree, to = os.path.join(other, "tree"), os.path.join(other, "out")
        files = subprocess.run(["git", "ls-files", "-z"], cwd=build.TOP, capture_output=True, check=True).stdout.split(b"\0")
        for name in filter(None, (f.decode() for f in files)):
            os.makedirs(os.path.join(tree, os.path.dirname(name)), exist_ok=True)
            shutil.copyfile(os.path.join(build.TOP, name), os.path.join(tree, name))
        shutil.copytree(os.path.join(out, "packages"), os.path.join(to, "packages"))
        cargo = os.environ.get("CARGO_HOME") or os.path.expanduser("~/.cargo")
        crates, packed = os.path.join(other, "crates"), shutil.ignore_patterns("src")
        shutil.copytree(os.path.join(cargo, "registry"), os.path.join(crates, "registry"), ignore=packed)
        if os.path.exists(os.path.join(cargo, "config.toml")):
            shutil.copyfile(os.path.join(cargo, "config.toml"), os.path.join(crates, "config.toml"))
        rustup = os.environ.get("RUSTUP_HOME") or os.path.expanduser("~/.rustup")
        environment = {**os.environ, "HOME": other, "CARGO_HOME": crates, "RUSTUP_HOME": rustup, "TZ": "Asia/Tokyo",
                       "LC_ALL": "C.UTF-8"}
        build.say("building it all again, elsewhere and as another user (about 20 minutes)")
        subprocess.run(["unshare", "--user", "--map-user=4242", "--map-group=4242", "sh", "-c", 'umask 077; exec "$@"', "sh",
                        sys.executable, os.path.join(tree, "guest/image/build.py"), to,
                        *(["--program", program] if program else [])], check=True, env=environment)
        equal = True
        for name in ("OVMF.fd", "vmlinuz", "initrd.cpio", "cmdline", "OVMF.tdx.fd"):
            here, there = (build.sha256(os.path.join(folder, name)) for folder in (out, to))
            print(f"  {name:12} {here} {'equal' if here == there else there + ' DIFFERS'}")
            equal &= here == there
        if not equal:
            build.fail("the two builds differ")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("out")
    arguments.add_argument("eider")
    arguments.add_argument("--twice", action="store_true")
    arguments.add_argument("--program")
    asked = arguments.parse_args()
    # What is ended from outside ends its machine.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    out = os.path.abspath(asked.out)
    need_qemu()
    up = runs_a_job(out, asked.eider)
    build.say("it ran a job for a requester outside")
    for what in ("kernel", "initrd", "cmdline"):
        if starts(out, up, what):
            build.fail(f"the firmware started it although the hash that was measured is of another {what}")
        build.say(f"with the hash of another {what} the firmware starts nothing in {2 * up + 20:.0f} s")
    with open(os.path.join(build.TOP, "policies/attest/sensitive.toml")) as f:
        named = re.findall(r'register = "measurement", value = "([0-9a-f]{96})"', f.read())
    with open(os.path.join(out, "measurements.json")) as f:
        if json.load(f)["sev-snp"] in named:
            build.say("sensitive.toml names its measurement")
        elif named:
            build.fail("sensitive.toml names another image's measurement: `make guest-image` writes this one's")
        else:
            build.say("sensitive.toml names no measurement: `make guest-image` writes this one's once all is committed")
    if asked.twice:
        again(out, asked.program and os.path.abspath(asked.program))
    build.say("all of it passed")


if __name__ == "__main__":
    main()

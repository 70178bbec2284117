#!/usr/bin/env python3
"""Builds the image of a confidential guest that runs a worker and nothing else: firmware, kernel, initial file system and
command line, equal byte for byte wherever and by whomever it is built, and the launch measurements that follow from it.

Everything comes from Debian's archive (packages.lock), PyPI (requirements.txt) and this repository, each file pinned by its
SHA-256. Steps, each skipped when its outputs stand: fetch, program (`eider-guest`, cargo), engine (compiled by that program),
firmware (the SNP build of Debian's edk2, with EDITS), initrd, measure. `make guest-image` does the whole.

Usage: build.py OUT [--program FILE] [--policy FILE]
  --program   a program that is built already, instead of building `eider-guest`: for trying out, never for a policy
  --policy    write the measurement, with where it comes from, into this attestation policy
"""
import argparse, hashlib, io, json, lzma, os, re, shutil, struct, subprocess, sys, tarfile, tempfile, time, urllib.error, urllib.request, uuid

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))

# The kernel's words, which are measured. ACPI is off because its tables come from the host, unmeasured, and their code would run
# in the kernel: with it the host could read and write all of the guest's memory. Without it there is one processor.
CMDLINE = "console=ttyS0 quiet acpi=off lockdown=integrity module.sig_enforce=1 panic=-1"
# How it must be started, for the measurement is of that too: the processor's model and how many there are.
VCPU_TYPE, VCPUS = "EPYC-v4", 1
# KVM's features of a guest that are in its first processor's state: SNP alone.
GUEST_FEATURES = 0x1

# Modules that are loaded, in this order. Each is checked to need only those before it.
MODULES = ["fs/configfs/configfs", "drivers/virt/coco/tsm", "drivers/virt/coco/sev-guest/sev-guest",
           "drivers/virt/coco/tdx-guest/tdx-guest", "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net"]
LIBRARIES = {"libc6": ["libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"], "libgcc": ["libgcc_s.so.1"]}
LOADER = "lib64/ld-linux-x86-64.so.2"

# What other versions of these would build differently. The firmware's hash below is of these.
TOOLS = {"gcc": (["gcc", "-dumpfullversion"], "12.2.0"), "ld": (["ld", "-v"], "2.40"),
         "nasm": (["nasm", "-v"], "2.16.01"), "iasl": (["iasl", "-v"], "20200925")}
FIRMWARE_SHA256 = "2f9da662de3af1d7e7dbff8c4ae37d796c783341c69b8625751a3e4727a6cbe3"

# file -> (text, its replacement, how often it stands there).
OVMF = "OvmfPkg/AmdSev/AmdSevX64"
TOKEN = "gUefiOvmfPkgTokenSpaceGuid."
LAUNCH = [("SevLaunchSecret", 0xc00), ("QemuHashTable", 0x400)]
PAGES = [("OvmfSecGhcbBackup", 0x1000), ("OvmfSnpSecrets", 0x1000), ("OvmfCpuid", 0x1000)]


def pages(at, regions):
    """The firmware's memory from an offset on, as its description says it."""
    text = []
    for name, size in regions:
        text.append(f"0x{at:06X}|0x{size:06X}\n{TOKEN}Pcd{name}Base|{TOKEN}Pcd{name}Size\n")
        at += size
    return "\n".join(text)


EDITS = {
    # The page with the hashes of kernel, initrd and command line becomes one that the host must have measured (section type
    # 0x10 of QEMU 9.1 and sev-snp-measure). For that it must lie outside the memory that is launched as zeros.
    f"{OVMF}.fdf": [(pages(0xc000, LAUNCH + PAGES), pages(0xc000, PAGES + LAUNCH), 1)],
    "OvmfPkg/ResetVector/ResetVector.nasmb": [
        ("%define SNP_SEC_MEM_BASE_DESC_3       (CPUID_BASE + CPUID_SIZE)",
         "%define SNP_KERNEL_HASHES_BASE        (CPUID_BASE + CPUID_SIZE)\n"
         "%define SNP_SEC_MEM_BASE_DESC_3       (SNP_KERNEL_HASHES_BASE + 0x1000)", 1),
        ("\n%ifdef ARCH_X64\n  #include <AutoGen.h>",
         "\n%if (FixedPcdGet32 (PcdSevLaunchSecretBase) != SNP_KERNEL_HASHES_BASE)\n  %error \"the hashes have moved\"\n%endif\n"
         "\n%ifdef ARCH_X64\n  #include <AutoGen.h>", 1)],
    "OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm": [
        ("  DD  OVMF_SECTION_TYPE_CPUID\n",
         "  DD  OVMF_SECTION_TYPE_CPUID\n\n  DD  SNP_KERNEL_HASHES_BASE\n  DD  0x1000\n  DD  0x10\n", 1)],
    # Drivers in the ROMs of the host's devices are not run: the file asks for that in TDX guests alone.
    "OvmfPkg/IncompatiblePciDeviceSupportDxe/IncompatiblePciDeviceSupport.c": [("if (CcProbe ()) {", "if (TRUE) {", 2)],
}
# What the firmware is built without. There is then nothing that it could start but the kernel whose hash was measured, whatever
# the host attaches or types, and nothing that reads tables of the host: disks, USB, file systems, menus, ACPI, SMBIOS.
LEFT_OUT = """
    Application/UiApp AmdSev/Grub VirtioBlkDxe VirtioScsiDxe DiskIoDxe PartitionDxe RamDiskDxe Fat.inf UdfDxe ScsiBusDxe
    ScsiDiskDxe SataControllerDxe AtaAtapiPassThru AtaBusDxe NvmExpressDxe UhciDxe EhciDxe XhciDxe UsbBusDxe UsbKbDxe
    UsbMassStorageDxe AcpiPlatformDxe BootGraphicsResourceTableDxe SmbiosPlatformDxe
""".split()
FIRMWARE_FLAGS = ["-D", "PVSCSI_ENABLE=FALSE", "-D", "MPT_SCSI_ENABLE=FALSE", "-D", "LSI_SCSI_ENABLE=FALSE"]


def say(text):
    print(f"guest image: {text}", flush=True)


def fail(text):
    sys.exit(f"guest image: {text}")


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def run(args, what, **kwargs):
    done = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if done.returncode != 0:
        fail(f"{what} failed:\n{done.stdout[-3000:]}")
    return done.stdout


# ---- packages

def lock(path=os.path.join(HERE, "packages.lock")):
    with open(path) as f:
        lines = [line.split() for line in f if line.strip() and not line.startswith("#")]
    return {name: (digest, path) for digest, name, path in lines}


def archives():
    """The Debian archives that apt on this machine is set up to use."""
    said = run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], "asking apt for its archives")
    found = sorted({line.rstrip("/") for line in said.splitlines() if line.startswith("http")})
    return found or fail("apt has no archive (`apt-get update` may help)")


def fetch(out, lock_file=os.path.join(HERE, "packages.lock")):
    """All packages, each checked; name -> path."""
    folder = os.path.join(out, "packages")
    os.makedirs(folder, exist_ok=True)
    packages = {}
    for name, (digest, path) in lock(lock_file).items():
        to = packages[name] = os.path.join(folder, os.path.basename(path))
        if not os.path.exists(to):
            say(f"fetching {os.path.basename(path)}")
            download(path, to + ".part")
            os.rename(to + ".part", to)
        if sha256(to) != digest:
            os.rename(to, to + ".rejected")
            fail(f"{os.path.basename(path)} is not what {lock_file} pins; it is beside it as .rejected")
    return packages


def download(path, to):
    for base in archives():
        try:
            with urllib.request.urlopen(f"{base}/{path}", timeout=120) as r, open(to, "wb") as f:
                shutil.copyfileobj(r, f)
            return
        except urllib.error.HTTPError as e:
            if e.code != 404:
                raise
    fail(f"no archive of apt's has {path} any more: Debian keeps a version for some months. Put the file into the folder "
         "`packages` of the output, or raise the version in packages.lock, which changes the measurement")


def archive_of(package):
    """The files of a Debian package."""
    with open(package, "rb") as f:
        data = f.read()
    at, members = 8, {}
    while at < len(data):
        name, size = data[at:at + 16].decode().strip().rstrip("/"), int(data[at + 48:at + 58])
        members[name] = data[at + 60:at + 60 + size]
        at += 60 + size + size % 2
    return tarfile.open(fileobj=io.BytesIO(lzma.decompress(members["data.tar.xz"])))


def unpack(package, root):
    """All files of a Debian package, under a folder."""
    archive_of(package).extractall(root)  # pinned by its hash


def contents(package, wanted):
    """Files of a Debian package: path -> bytes, symbolic links followed within their folder."""
    archive = archive_of(package)
    files = {m.name.removeprefix("./"): m for m in archive.getmembers()}
    found = {}
    for path in wanted(files):
        member = files[path]
        while member.issym():
            member = files[os.path.normpath(os.path.join(os.path.dirname(member.name.removeprefix("./")), member.linkname))]
        found[path] = archive.extractfile(member).read()
    return found


# ---- the program

def program(out):
    """`eider-guest`, with no path of this machine in it; its path."""
    target = os.path.join(out, "program")
    cargo = os.environ.get("CARGO", "cargo")
    rustc = run([os.environ.get("RUSTC", "rustc"), "-vV"], "rustc")
    commit = re.search(r"commit-hash: (\w+)", rustc)[1]
    sysroot = run([os.environ.get("RUSTC", "rustc"), "--print", "sysroot"], "rustc").strip()
    run([cargo, "fetch", "--locked"], "cargo fetch", cwd=TOP)
    home = os.environ.get("CARGO_HOME") or os.path.expanduser("~/.cargo")
    sources = os.path.join(home, "registry", "src")
    # The last one that fits wins.
    maps = [(TOP, "/eider"), (target, "/target"), (os.path.join(sysroot, "lib/rustlib/src/rust"), f"/rustc/{commit}")]
    maps += [(os.path.join(sources, index), "/crates") for index in sorted(os.listdir(sources))]
    environment = {
        "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "CARGO_HOME": home, "CARGO_TARGET_DIR": target,
        **{k: v for k, v in os.environ.items() if k.startswith(("RUSTUP_", "CARGO_HTTP", "CARGO_NET", "CARGO_REG", "SSL_"))},
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(f"--remap-path-prefix={path}={to}" for path, to in maps),
        "CFLAGS": " ".join(f"-ffile-prefix-map={path}={to}" for path, to in maps),
        "CARGO_PROFILE_RELEASE_DEBUG": "false", "CARGO_PROFILE_RELEASE_STRIP": "symbols", "CARGO_INCREMENTAL": "0",
        "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0",
    }
    say("building eider-guest (about 12 minutes on two cores the first time)")
    subprocess.run([cargo, "build", "--release", "--locked", "--quiet", "-p", "eider-cli", "--features", "guest",
                    "--bin", "eider-guest"], check=True, cwd=TOP, env=environment)
    return os.path.join(target, "release", "eider-guest")


def engine(out, binary):
    """The engine's image, which the program compiles for the baseline of all images; path in the guest's cache -> bytes."""
    digest = sha256(binary)
    cache = os.path.join(out, "engine", digest)
    folder = os.path.join(cache, "engines")
    if not os.path.exists(os.path.join(cache, "done")):
        shutil.rmtree(os.path.join(out, "engine"), ignore_errors=True)
        os.makedirs(folder, 0o700)
        # A cache tells its own images by a secret of its machine. In the guest it is the measurement that vouches for them.
        with open(os.path.join(folder, "image.key"), "wb") as f:
            f.write(hashlib.sha256(b"eider guest image").digest())
        say("compiling the engine (a minute or two)")
        run([os.path.abspath(binary), "compile"], "compiling the engine", env={"EIDER_CACHE": cache, "EIDER_HOME": cache})
        open(os.path.join(cache, "done"), "w").close()
    files = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as f:
            files[f"run/cache/engines/{name}"] = f.read()
    if sorted(os.path.splitext(name)[1] for name in files) != [".cwasm", ".key", ".mac"]:
        fail(f"the engine's cache has {', '.join(files)}")
    return files


# ---- the initial file system

def newc(entries):
    """A cpio archive in the form that the kernel reads: in order of names, nobody's but root's, of no time."""
    out = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def initrd(packages, binary, compiled):
    files = {path: (0o600, data) for path, data in compiled.items()}
    wanted = lambda names: [n for n in names if n.startswith("boot/vmlinuz-") or n.endswith(".ko.xz")]
    kernel = contents(packages["linux"], wanted)
    loaded = set()
    for number, module in enumerate(MODULES):
        compressed = next((data for name, data in kernel.items() if name.endswith(f"/kernel/{module}.ko.xz")), None)
        data = lzma.decompress(compressed or fail(f"the kernel's package has no module {module}"))
        needs = set(filter(None, re.search(rb"\0depends=([^\0]*)\0", data)[1].decode().split(",")))
        if needs - loaded:
            fail(f"the module {module} needs {', '.join(needs - loaded)} before it")
        name = os.path.basename(module)
        loaded.add(name.replace("-", "_"))
        files[f"lib/modules/{number:02}-{name}.ko"] = (0o644, data)
    for package, names in LIBRARIES.items():
        paths = {f"lib/x86_64-linux-gnu/{name}": name for name in names}
        for path, data in contents(packages[package], lambda _, paths=paths: list(paths)).items():
            files[LOADER if path.endswith(os.path.basename(LOADER)) else path] = (0o755, data)
    files["bin/busybox"] = (0o755, contents(packages["busybox"], lambda _: ["bin/busybox"])["bin/busybox"])
    with open(binary, "rb") as f:
        files["bin/eider"] = (0o755, f.read())
    for name, to, mode in [("init", "init", 0o755), ("worker.toml", "etc/worker.toml", 0o644)]:
        with open(os.path.join(HERE, name), "rb") as f:
            files[to] = (mode, f.read())
    folders = {os.path.dirname(path) for path in files} | {"dev", "proc", "root", "run", "sys", "tmp"}
    folders |= {"/".join(folder.split("/")[:n]) for folder in folders for n in range(1, folder.count("/") + 1)}
    entries = [(folder, 0o040700 if folder.startswith("run/") else 0o040755, b"") for folder in folders if folder]
    entries += [(path, 0o100000 | mode, data) for path, (mode, data) in files.items()]
    vmlinuz = next(data for name, data in kernel.items() if name.startswith("boot/vmlinuz-"))
    return vmlinuz, newc(sorted(entries))


# ---- the firmware of SNP guests

def tools():
    """What builds the firmware is there, in these versions: asked before anything takes long."""
    packages = ["gcc", "make", "nasm", "acpica-tools", "uuid-dev", "patch"]
    if os.geteuid() == 0 and not (
            all(map(shutil.which, ("gcc", "make", "nasm", "iasl", "patch"))) and os.path.exists("/usr/include/uuid/uuid.h")):
        say(f"installing {', '.join(packages)}")
        run(["apt-get", "install", "-y", "--no-install-recommends", *packages], "apt-get")
    for tool, (command, want) in TOOLS.items():
        said = run(command, tool) if shutil.which(command[0]) else "nothing"
        if want not in said:
            fail(f"{tool} must be version {want} (Debian 12: apt-get install {' '.join(packages)})")


def firmware(out, packages):
    product = os.path.join(out, "OVMF.fd")
    key = hashlib.sha256(repr((EDITS, LEFT_OUT, FIRMWARE_FLAGS, lock()["edk2"], lock()["edk2-debian"])).encode()).hexdigest()
    stamp = os.path.join(out, "OVMF.key")
    if os.path.exists(product) and os.path.exists(stamp) and open(stamp).read() == key:
        return product
    say("building the firmware (about 4 minutes)")
    # edk2 puts the path that it is built in into each module, and in releases zeros instead of its letters: as many of them.
    work = tempfile.mkdtemp(prefix="eider-edk2-", dir="/tmp")
    with tarfile.open(packages["edk2"]) as archive:
        archive.extractall(work)  # pinned by its hash
    (source,) = (os.path.join(work, name) for name in os.listdir(work))
    with tarfile.open(packages["edk2-debian"]) as archive:
        archive.extractall(source)
    patches = os.path.join(source, "debian", "patches")
    for line in open(os.path.join(patches, "series")):
        if line.strip() and not line.startswith("#"):
            run(["patch", "-p1", "-s", "-i", os.path.join(patches, line.strip())], f"Debian's patch {line.strip()}", cwd=source)
    edit(source)
    environment = {"PATH": os.environ["PATH"], "HOME": work, "LC_ALL": "C", "TZ": "UTC", "SOURCE_DATE_EPOCH": "0",
                   "PYTHON3_ENABLE": "TRUE", "PYTHON_COMMAND": sys.executable, "PYTHONHASHSEED": "0"}
    jobs = str(os.cpu_count() or 2)
    build = ["build", "-q", "-a", "X64", "-t", "GCC5", "-b", "RELEASE", "-n", jobs, "-p", f"{OVMF}.dsc", *FIRMWARE_FLAGS]
    script = f". ./edksetup.sh && make -s -C BaseTools/Source/C -j{jobs} && {' '.join(build)}"
    run(["bash", "-c", script], "the firmware's build", cwd=source, env=environment)
    made = os.path.join(source, "Build/AmdSev/RELEASE_GCC5/FV/OVMF.fd")
    if sha256(made) != FIRMWARE_SHA256:
        fail(f"the firmware has SHA-256 {sha256(made)}, but {FIRMWARE_SHA256} is pinned; it is in {work}")
    shutil.copyfile(made, product)
    shutil.rmtree(work)
    with open(stamp, "w") as f:
        f.write(key)
    return product


def edit(source):
    for name, edits in EDITS.items():
        change(os.path.join(source, name), edits)
    for name in (f"{OVMF}.fdf", f"{OVMF}.dsc"):
        path = os.path.join(source, name)
        with open(path) as f:
            lines = f.readlines()
        # A component with settings of its own goes on over several lines; built and not packed, it does no harm.
        gone = [line for line in lines if any(part in line for part in LEFT_OUT) and line.strip().endswith(".inf")]
        gone += [line for line in lines if line.strip().startswith("PREBUILD")]
        with open(path, "w") as f:
            f.writelines(line for line in lines if line not in gone)
        missing = [part for part in LEFT_OUT if name.endswith(".fdf") and not any(part in line for line in gone)]
        if missing:
            fail(f"{name} names no {', '.join(missing)}")


def change(path, edits):
    with open(path) as f:
        text = f.read()
    for old, new, count in edits:
        if text.count(old) != count:
            fail(f"{path}: {old!r} stands there {text.count(old)} times, not {count}")
        text = text.replace(old, new)
    with open(path, "w") as f:
        f.write(text)


# ---- measurements

def tool(out):
    """sev-snp-measure, from PyPI, by its hash."""
    folder = os.path.join(out, "pydeps")
    if not os.path.isdir(os.path.join(folder, "sevsnpmeasure")):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run([*pip, "--only-binary", ":all:", "--require-hashes", "--target", folder, "-r", os.path.join(HERE, "requirements.txt")],
            "pip (python3-pip is needed)")
    sys.path.insert(0, folder)


def snp(out, vcpus=VCPUS):
    """The launch measurement of SEV-SNP, as QEMU 9.1 and later start a guest with `kernel-hashes=on`."""
    tool(out)
    from sevsnpmeasure import guest, sev_mode, vcpu_types
    path = lambda name: os.path.join(out, name)
    return guest.snp_calc_launch_digest(vcpus, vcpu_types.CPU_SIGS[VCPU_TYPE], path("OVMF.fd"), path("vmlinuz"),
                                        path("initrd.cpio"), CMDLINE, GUEST_FEATURES, "").hex()


def mrtd(ovmf):
    """MRTD of a TDX firmware: what TDH.MEM.PAGE.ADD and TDH.MR.EXTEND hash (Intel TDX Module base specification, "MRTD"), for
    the sections of its TDVF metadata in the order in which QEMU 10.1 and Linux 6.16 and later add them: page by page."""
    size = len(ovmf)
    # The table of GUIDs ends 32 bytes before the end; each entry is data, length, GUID.
    guid = uuid.UUID("e47a6535-984a-4798-865e-4685a7bf8ec2").bytes_le
    at = ovmf.rindex(guid)
    metadata = size - int.from_bytes(ovmf[at - 6:at - 2], "little")
    if ovmf[metadata:metadata + 4] != b"TDVF":
        fail("the TDX firmware has no TDVF metadata")
    count = int.from_bytes(ovmf[metadata + 12:metadata + 16], "little")
    digest = hashlib.sha384()
    for n in range(count):
        start = metadata + 16 + 32 * n
        data, raw, address, memory, _, attributes = struct.unpack_from("<IIQQII", ovmf, start)
        for page in range(0, memory, 4096):
            digest.update(b"MEM.PAGE.ADD".ljust(16, b"\0") + (address + page).to_bytes(8, "little") + bytes(104))
            for chunk in range(page, page + 4096, 256) if attributes & 1 else ():
                digest.update(b"MR.EXTEND".ljust(16, b"\0") + (address + chunk).to_bytes(8, "little") + bytes(104))
                digest.update(ovmf[data + chunk:data + min(chunk + 256, raw)].ljust(256, b"\0"))
    return digest.hexdigest()


def commit():
    """The last commit that changed anything but policies, which are not in the image; None if there are changes beside it."""
    ours = ["--", ".", ":!policies"]
    git = lambda *words: subprocess.run(["git", *words, *ours], cwd=TOP, capture_output=True, text=True).stdout.strip()
    return None if git("status", "--porcelain") else git("log", "-1", "--format=%H") or None


def measure(out, packages, binary):
    with open(os.path.join(out, "OVMF.tdx.fd"), "wb") as f:
        path = "usr/share/ovmf/OVMF.fd"
        f.write(contents(packages["ovmf"], lambda _: [path])[path])
    with open(os.path.join(out, "OVMF.tdx.fd"), "rb") as f:
        tdx = mrtd(f.read())
    rustc = run([os.environ.get("RUSTC", "rustc"), "-V"], "rustc").split(" (")[0]
    files = {name: sha256(os.path.join(out, name)) for name in ("OVMF.fd", "vmlinuz", "initrd.cpio", "OVMF.tdx.fd")}
    said = {"commit": commit(), "rustc": rustc, "program": sha256(binary), "files": files, "cmdline": CMDLINE, "vcpu": VCPU_TYPE, "vcpus": VCPUS,
            "sev-snp": snp(out), "tdx mrtd": tdx,
            "packages": {name: os.path.basename(path) for name, (_, path) in lock().items()}}
    with open(os.path.join(out, "measurements.json"), "w") as f:
        json.dump(said, f, indent=2)
        f.write("\n")
    return said


def write_policy(path, said):
    """Puts the measurement where `sensitive.toml` has its reference values of SEV-SNP."""
    with open(path) as f:
        text = f.read()
    origin = (f"make guest-image of {said['commit']}: {said['vcpus']} x {said['vcpu']}, {said['rustc']}, program {said['program'][:16]}, "
              f"initrd {said['files']['initrd.cpio'][:16]}, {said['packages']['linux']}, edk2 {said['files']['OVMF.fd'][:16]}; "
              "computed with sev-snp-measure, never seen on hardware")
    entry = f'measurements = [\n    {{ register = "measurement", value = "{said["sev-snp"]}", from = "{origin}" }},\n]'
    section = text.index("[sev-snp]")
    pattern = re.compile(r"^measurements = \[(?:\]|.*?^\])", re.M | re.S)
    found = pattern.search(text, section) or fail(f"{path} has no `measurements` under [sev-snp]")
    with open(path, "w") as f:
        f.write(text[:found.start()] + entry + text[found.end():])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("out")
    arguments.add_argument("--program")
    arguments.add_argument("--policy")
    asked = arguments.parse_args()
    out, began = os.path.abspath(asked.out), time.time()
    tools()
    packages = fetch(out)
    binary = asked.program or program(out)
    firmware(out, packages)
    vmlinuz, archive = initrd(packages, binary, engine(out, binary))
    for name, data in [("vmlinuz", vmlinuz), ("initrd.cpio", archive), ("cmdline", CMDLINE.encode())]:
        with open(os.path.join(out, name), "wb") as f:
            f.write(data)
    said = measure(out, packages, binary)
    say(f"made in {out} in {time.time() - began:.0f} s")
    print(f"  sev-snp  measurement {said['sev-snp']}")
    print(f"           ({VCPUS} x {VCPU_TYPE}; QEMU 9.1 or later, kernel-hashes=on; OVMF.fd, vmlinuz, initrd.cpio, cmdline)")
    print(f"  tdx      mrtd        {said['tdx mrtd']}")
    print("           (OVMF.tdx.fd alone. rtmr0 is of the host's ACPI tables and memory, rtmr1 of the kernel with what QEMU writes")
    print("           into its header: neither follows from these files, so no TDX guest is in a policy)")
    if asked.policy:
        if asked.program:
            fail("--policy wants the program that this repository makes, not one given with --program")
        if said["commit"]:
            write_policy(asked.policy, said)
            print(f"  written into {asked.policy}")
        else:
            print(f"  NOT written into {asked.policy}, which names the commit: there are changes that are not committed")


if __name__ == "__main__":
    main()

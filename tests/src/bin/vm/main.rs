//! `make vm`: boots Debian's own kernel in an emulated machine and runs there what no container can: cells in a control group
//! (cgroup v2), both as a service and from a terminal, the escape drill, some guest programs, and evidence of a TPM behind the
//! kernel's driver, with the log of what firmware measured. The TPM itself is the software one. About half a minute; no hardware help is needed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use eider_attest_device::swtpm;
use eider_tests::target_dir;

const TOOLS: [&str; 3] = ["qemu-system-x86_64", "busybox", "cpio"];
const PACKAGES: [&str; 3] = ["qemu-system-x86", "busybox-static", "cpio"];
const KERNEL: &str = "linux-image-amd64";
const INIT: &str = include_str!("init.sh");
/// Below `kernel/` of its modules, without `.ko`, in the order in which they are loaded.
const MODULES: [&str; 11] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "fs/netfs/netfs",
    "fs/fscache/fscache",
    "net/9p/9pnet",
    "net/9p/9pnet_virtio",
    "fs/9p/9p",
    "fs/overlayfs/overlay",
];
/// Those of the TPM's tests that do not need one of their own.
const TPM_TESTS: [&str; 3] = [
    "a_tpm_proves_l1_after_its_activation_and_not_before",
    "many_quotes_leave_no_keys_or_sessions_behind",
    "a_changed_register_and_another_nonce_have_their_reasons",
];
/// Programs with a snapshot, or that grow: what the sandbox prepares depends on how a kernel places memory.
const PROGRAMS: [&str; 4] = ["good", "failure", "memory_many_steps", "memory_one_step"];
const PASSED: &str = "vm: all of it passed";
const PATIENCE: Duration = Duration::from_secs(900);

fn main() -> Result<()> {
    println!("a machine with Debian's kernel: fetched the first time (70 MB), then about half a minute");
    let dir = target_dir().join("vm");
    fs::create_dir_all(&dir)?;
    ensure!(swtpm::required(), "a software TPM is needed");
    swtpm::install(&TOOLS, &PACKAGES).map_err(anyhow::Error::msg)?;
    let kernel = kernel(&dir)?;
    let tpm = dir.join("tpm");
    let _ = fs::remove_dir_all(&tpm);
    fs::create_dir(&tpm)?;
    swtpm::provision(&tpm).map_err(anyhow::Error::msg)?;
    let initrd = initrd(&dir, &kernel, &job(&tpm)?)?;
    let _tpm = Kill(start_tpm(&tpm)?);
    let vmlinuz = only(&kernel.join("boot"), "vmlinuz-")?;
    let passed = boot(&vmlinuz, &initrd, &tpm)?;
    ensure!(passed, "the tests in the machine did not pass");
    Ok(())
}

/// A child that does not outlive this process's interest in it.
struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, args: &[&str], dir: &Path) -> Result<()> {
    let done = Command::new(program).args(args).current_dir(dir).output().with_context(|| program.to_string())?;
    ensure!(done.status.success(), "{program} {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// The kernel's package, unpacked and not installed.
fn kernel(dir: &Path) -> Result<PathBuf> {
    let unpacked = dir.join("kernel");
    if unpacked.join("boot").exists() {
        return Ok(unpacked);
    }
    let depends = Command::new("apt-cache").args(["depends", KERNEL]).output()?;
    let said = String::from_utf8_lossy(&depends.stdout).to_string();
    let package = said.lines().find_map(|l| l.trim().strip_prefix("Depends: ")).context("Debian's kernel package")?;
    run("apt-get", &["download", package], dir)?;
    let package = only(dir, "linux-image-")?;
    run("dpkg", &["-x", &package.to_string_lossy(), &unpacked.to_string_lossy()], dir)?;
    fs::remove_file(package)?;
    Ok(unpacked)
}

fn only(dir: &Path, prefix: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(entry.path());
        }
    }
    bail!("there is no {prefix}* in {}", dir.display())
}

/// What runs in the machine.
fn job(tpm: &Path) -> Result<String> {
    let [group, drill, programs, tpm_test] = ["group", "drill", "programs", "swtpm"].map(test_binary);
    let (group, drill, programs, tpm_test) = (group?, drill?, programs?, tpm_test?);
    let one = |binary: &str, name: &str| format!("one '{binary}' {name}\n");
    let programs: String = PROGRAMS.iter().map(|name| one(&programs, name)).collect();
    let tpm_tests: String = TPM_TESTS.iter().map(|name| one(&tpm_test, name)).collect();
    Ok(format!(
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp EIDER_VM=1 RUST_BACKTRACE=0\n\
         export EIDER_TPM=/dev/tpmrm0 EIDER_TPM_FOLDER='{tpm}'\n\
         one() {{ said=$(\"$1\" --exact $2 2>&1); echo \"$said\"; case \"$said\" in *' 1 passed'*) ;; *) failed=1;; esac; }}\n\
         uname -r; failed=; cd /sys/fs/cgroup; all='+memory +pids +cpu'\n\
         mkdir -p /run/systemd/system service user/terminal\n\
         echo $all > cgroup.subtree_control; echo $all > user/cgroup.subtree_control\n\
         echo 'as a service to which nothing is delegated, where the test must fail; then as one that has it:'\n\
         sh -c \"echo \\$\\$ > service/cgroup.procs; exec '{group}'\" | grep FAILED || failed=1\n\
         python3 -c 'import os; os.setxattr(\"service\", \"trusted.delegate\", b\"1\")'\n\
         sh -c \"echo \\$\\$ > service/cgroup.procs; exec '{group}'\" || failed=1\n\
         echo 'from a terminal, beside others, as an ordinary user:'\n\
         echo $$ > user/terminal/cgroup.procs; chown -R 1000 user\n\
         setpriv --reuid=1000 --regid=1000 --clear-groups '{group}' || failed=1\n\
         setpriv --reuid=1000 --regid=1000 --clear-groups '{eider}' doctor || failed=1\n\
         '{drill}' || failed=1\n\
         {programs}{tpm_tests}\
         [ -n \"$failed\" ] || echo '{PASSED}'\n",
        tpm = tpm.display(),
        eider = eider_tests::eider().display(),
    ))
}

/// The newest binary of a test, which cargo builds if it is not there.
fn test_binary(name: &str) -> Result<String> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let built = Command::new("cargo")
        .args([
            "test",
            "--release",
            "--locked",
            "--workspace",
            "--no-run",
            "--quiet",
            "--message-format=json",
            "--manifest-path",
        ])
        .args([manifest, "--test", name])
        .stderr(Stdio::inherit())
        .output()?;
    for line in built.stdout.lines() {
        let message: serde_json::Value = serde_json::from_str(&line?)?;
        if let (Some(path), true) = (message["executable"].as_str(), message["target"]["name"] == name) {
            return Ok(path.to_string());
        }
    }
    bail!("cargo did not build the test {name}")
}

fn initrd(dir: &Path, kernel: &Path, job: &str) -> Result<PathBuf> {
    let root = dir.join("initrd");
    let _ = fs::remove_dir_all(&root);
    for folder in ["bin", "modules"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    let modules = only(&kernel.join("lib/modules"), "")?.join("kernel");
    for (n, module) in MODULES.iter().enumerate() {
        let to = root.join(format!("modules/{n:02}.ko"));
        fs::copy(modules.join(module).with_extension("ko"), to).with_context(|| module.to_string())?;
    }
    fs::write(root.join("init"), INIT)?;
    fs::write(root.join("job.sh"), job)?;
    run("chmod", &["755", "init"], &root)?;
    run("sh", &["-c", "find . | cpio -o -H newc --quiet > ../initrd.cpio"], &root)?;
    Ok(dir.join("initrd.cpio"))
}

fn start_tpm(tpm: &Path) -> Result<Child> {
    let socket = tpm.join("control");
    let child = Command::new("swtpm")
        .args(["socket", "--tpm2", "--tpmstate", &format!("dir={}", tpm.join("state").display())])
        .args(["--ctrl", &format!("type=unixio,path={}", socket.display())])
        .stdin(Stdio::null())
        .spawn()
        .context("swtpm")?;
    let began = Instant::now();
    while !socket.exists() {
        ensure!(began.elapsed() < Duration::from_secs(10), "swtpm does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(child)
}

/// Runs the machine, showing what it prints, until it ends; whether all passed.
fn boot(kernel: &Path, initrd: &Path, tpm: &Path) -> Result<bool> {
    let mut machine = Command::new("qemu-system-x86_64");
    machine
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-m", "4G", "-smp", "2", "-net", "none"])
        .args(["-display", "none", "-serial", "stdio", "-no-reboot"])
        .args(["-kernel".as_ref(), kernel.as_os_str(), "-initrd".as_ref(), initrd.as_os_str()])
        .args(["-append", "console=ttyS0 quiet panic=-1"])
        .args(["-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"])
        .args(["-chardev", &format!("socket,id=tpm,path={}", tpm.join("control").display())])
        .args(["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut machine = Kill(machine.spawn().context("qemu-system-x86_64")?);
    let console = BufReader::new(machine.0.stdout.take().context("its console")?);
    let pid = machine.0.id();
    // A machine that hangs is ended, which ends its console.
    std::thread::spawn(move || {
        std::thread::sleep(PATIENCE);
        eprintln!("the machine did not end within {} s", PATIENCE.as_secs());
        let _ = Command::new("kill").arg(pid.to_string()).status();
    });
    let mut passed = false;
    for line in console.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_string();
        passed |= line == PASSED;
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(passed)
}

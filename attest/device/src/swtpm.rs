//! A software TPM for tests, provisioned with an endorsement certificate by a certificate authority of its own.
//!
//! Everything lies in a temporary folder that goes away with it. Its authority must never be a root of a real policy.
//!
//! In a virtual machine it is behind the kernel's driver: `EIDER_TPM` then names the device, and `EIDER_TPM_FOLDER` the folder
//! that [`provision`] was called with outside. `make vm` does both.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::{EVENT_LOG, Tpm, read_log};

const PROGRAMS: [&str; 4] = ["swtpm", "swtpm_setup", "swtpm_localca", "tpm2_checkquote"];
/// What has them, as Debian names it.
const PACKAGES: [&str; 4] = ["swtpm", "swtpm-tools", "tpm2-tools", "libtss2-tcti-swtpm0"];
/// How long it may take until it listens.
const START: Duration = Duration::from_secs(10);
/// How often another port is tried, if somebody took the first in between.
const PORTS: usize = 5;

/// Whether tests with a software TPM can run. If it is not installed it is installed, by root and with apt. Where that fails,
/// this says so on standard output.
///
/// # Panics
/// If it cannot run and the environment has `CI`: there it must.
pub fn required() -> bool {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    match READY.get_or_init(|| install(&PROGRAMS, &PACKAGES)) {
        Ok(()) => true,
        Err(why) if env::var_os("CI").is_some() => panic!("swtpm is required here: {why}"),
        Err(why) => {
            println!("SKIPPED: swtpm is not there: {why}. Nothing of the TPM was tested.");
            false
        }
    }
}

/// Installs Debian's `packages`, by root and with apt, unless all `programs` are there already.
///
/// # Errors
/// What apt said, if a program is still not there.
pub fn install(programs: &[&str], packages: &[&str]) -> Result<(), String> {
    let installed = || {
        let path = env::var_os("PATH").unwrap_or_default();
        programs.iter().all(|name| env::split_paths(&path).any(|folder| folder.join(name).is_file()))
    };
    if installed() {
        return Ok(());
    }
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(["-o", "Acquire::Retries=5"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        apt.output().map_err(|e| format!("apt-get: {e}"))
    };
    apt(&["update"])?;
    let done = apt(&[&["install", "--no-install-recommends", "-y"][..], packages].concat())?;
    if installed() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).lines().last().unwrap_or_default().to_string();
    Err(format!("`apt-get install {}` as root would install it, and does not here: {said}", packages.join(" ")))
}

/// One that runs.
#[derive(Debug)]
pub struct Swtpm {
    place: Place,
    authority: PathBuf,
    folder: tempfile::TempDir,
}

#[derive(Debug)]
enum Place {
    Process(Child, SocketAddr),
    Device(PathBuf),
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Swtpm {
    /// Makes an authority, a TPM with a certificate by it, and starts that TPM on a port of 127.0.0.1.
    ///
    /// # Errors
    /// What went wrong, with what the tools said.
    pub fn start() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        if let (Some(device), Some(made)) = (env::var_os("EIDER_TPM"), env::var_os("EIDER_TPM_FOLDER")) {
            return Ok(Self {
                place: Place::Device(device.into()),
                authority: PathBuf::from(made).join("authority"),
                folder,
            });
        }
        provision(folder.path())?;
        let (child, address) = listen(folder.path())?;
        Ok(Self { place: Place::Process(child, address), authority: folder.path().join("authority"), folder })
    }

    /// Starts one without certificates; it has no authority either.
    ///
    /// # Errors
    /// What went wrong.
    pub fn blank() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        fs::create_dir(folder.path().join("state")).map_err(|e| e.to_string())?;
        let (child, address) = listen(folder.path())?;
        Ok(Self { place: Place::Process(child, address), authority: folder.path().join("authority"), folder })
    }

    /// Ends it and starts it again with the same state, as a machine that loses power does. A device goes on as it is.
    ///
    /// # Errors
    /// What went wrong.
    pub fn restart(&mut self) -> Result<(), String> {
        self.stop();
        if let Place::Process(..) = self.place {
            let (child, address) = listen(self.folder.path())?;
            self.place = Place::Process(child, address);
        }
        Ok(())
    }

    fn stop(&mut self) {
        if let Place::Process(child, _) = &mut self.place {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A connection. It serves one at a time: drop one before the next.
    ///
    /// # Errors
    /// What went wrong.
    pub fn tpm(&self) -> Result<Tpm, String> {
        match &self.place {
            Place::Process(_, address) => Tpm::connect(*address),
            Place::Device(path) => Tpm::open(path),
        }
        .map_err(|e| e.to_string())
    }

    /// The log of what firmware measured, where firmware ran.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn log(&self) -> Result<Option<Vec<u8>>, String> {
        match &self.place {
            Place::Process(..) => Ok(None),
            Place::Device(_) => read_log(EVENT_LOG.as_ref()).map(Some).map_err(|e| e.to_string()),
        }
    }

    /// Where it listens, or its device.
    pub fn address(&self) -> String {
        match &self.place {
            Place::Process(_, address) => address.to_string(),
            Place::Device(path) => path.display().to_string(),
        }
    }

    /// DER of the intermediate and of the root of its authority.
    ///
    /// # Errors
    /// What went wrong.
    pub fn issuers(&self) -> Result<Vec<Vec<u8>>, String> {
        let names = ["issuercert.pem", "swtpm-localca-rootca-cert.pem"];
        names.into_iter().map(|name| certificate(&self.authority.join(name))).collect()
    }

    /// A folder for a test's own files, which goes away with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Makes an authority and the state of a TPM that has its certificate, in a folder that is empty.
///
/// # Errors
/// What went wrong, with what the tools said.
pub fn provision(folder: &Path) -> Result<(), String> {
    let write = |name: &str, text: String| fs::write(folder.join(name), text).map_err(|e| e.to_string());
    for name in ["authority", "state"] {
        fs::create_dir(folder.join(name)).map_err(|e| e.to_string())?;
    }
    let at = folder.display();
    write(
        "localca.conf",
        format!(
            "statedir = {at}/authority\nsigningkey = {at}/authority/signkey.pem\n\
             issuercert = {at}/authority/issuercert.pem\ncertserial = {at}/authority/certserial\n"
        ),
    )?;
    write("localca.options", "--platform-manufacturer Eider\n--platform-version 1\n--platform-model tests\n".into())?;
    write(
        "setup.conf",
        format!(
            "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = {at}/localca.conf\n\
             create_certs_tool_options = {at}/localca.options\nactive_pcr_banks = sha256\n"
        ),
    )?;
    let mut setup = Command::new("swtpm_setup");
    setup.args(["--tpm2", "--create-ek-cert", "--overwrite", "--tpmstate"]).arg(folder.join("state"));
    let done = setup.arg("--config").arg(folder.join("setup.conf")).output();
    let done = done.map_err(|e| format!("swtpm_setup: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("swtpm_setup: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)))
}

fn listen(folder: &Path) -> Result<(Child, SocketAddr), String> {
    let mut last = String::new();
    for _ in 0..PORTS {
        match try_port(folder) {
            Ok(done) => return Ok(done),
            Err(why) => last = why,
        }
    }
    Err(format!("swtpm does not listen: {last}"))
}

fn try_port(folder: &Path) -> Result<(Child, SocketAddr), String> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
    let address = free.map_err(|e| e.to_string())?;
    let ready = folder.join("pid");
    let _ = fs::remove_file(&ready);
    let mut command = Command::new("swtpm");
    command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"]);
    command.arg(format!("dir={}", folder.join("state").display()));
    command.arg("--server").arg(format!("type=tcp,bindaddr=127.0.0.1,port={}", address.port()));
    command.arg("--pid").arg(format!("file={}", ready.display()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| format!("swtpm: {e}"))?;
    let begin = Instant::now();
    // It writes its process id after it has bound the port.
    while !ready.exists() {
        let ended = child.try_wait().map_err(|e| e.to_string())?;
        if ended.is_some() || begin.elapsed() > START {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("port {}, {ended:?}", address.port()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok((child, address))
}

/// DER of the first certificate in a PEM file.
fn certificate(path: &PathBuf) -> Result<Vec<u8>, String> {
    let read = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let bytes = fs::read(path).map_err(|e| read(&e))?;
    Ok(pem::parse(bytes).map_err(|e| read(&e))?.into_contents())
}

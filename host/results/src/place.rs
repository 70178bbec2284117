//! A file that appears when it is complete.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

/// Where a result is going to be: until then its bytes are beside it, in a file of its own whose name nobody can foresee
/// and which ends with `.part`. That goes when this goes.
#[derive(Debug)]
pub(crate) struct Place {
    folder: Dir,
    file: File,
    part: OsString,
    name: OsString,
    is_taken: bool,
}

impl Place {
    /// The folder must be there; the file may be, and is replaced. Answers what the bytes are written to.
    pub(crate) fn prepare(path: &Path) -> io::Result<(Self, File)> {
        let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "this names no file");
        let name = path.file_name().ok_or_else(no_name)?.to_owned();
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = Dir::open_ambient_dir(folder, ambient_authority())?;
        let part = OsString::from(format!(".eider-{:016x}.part", rand::random::<u64>()));
        let file = folder.open_with(&part, OpenOptions::new().write(true).create_new(true))?.into_std();
        let written = file.try_clone();
        let place = Self { folder, file, part, name, is_taken: false };
        Ok((place, written?))
    }

    /// Waits until the bytes would survive a power cut, for as long as the disk takes.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// The file is complete.
    pub(crate) fn take(mut self) -> io::Result<()> {
        self.folder.rename(&self.part, &self.folder, &self.name)?;
        self.is_taken = true;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_taken {
            let _ = self.folder.remove_file(&self.part);
        }
    }
}

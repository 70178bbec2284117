//! What a requester keeps: its jobs, the policies that they were under, and what it has learned of evidence. One SQLite
//! file, which its owner can attach from any DuckDB or SQLite client.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use eider_attest::Issued;
use rusqlite::{Connection, ErrorCode, params};

use crate::memory::{Memory, Requirement};
use crate::record::JobRecord;

/// A store that is open.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    db: Connection,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite.
    #[error("store {0}: {1}")]
    Db(PathBuf, rusqlite::Error),
    /// What is in it was written by another version.
    #[error("store {0}: {1} cannot be read: {2}; it was written by another version of this program")]
    Content(PathBuf, String, serde_json::Error),
    /// No such job, or several.
    #[error("store {0}: {1}")]
    Job(PathBuf, String),
}

/// Several queries of one user may end at once: each waits so long for the others.
const PATIENCE: Duration = Duration::from_secs(10);
/// A new store is made in some milliseconds.
const AGAIN: Duration = Duration::from_millis(5);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS job (
        id TEXT PRIMARY KEY, at INTEGER NOT NULL, class TEXT NOT NULL, ended TEXT NOT NULL, policy TEXT,
        record TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS policy (hash TEXT PRIMARY KEY, text TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS issued (offer TEXT PRIMARY KEY, nonce TEXT NOT NULL, at INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS seen (collateral TEXT PRIMARY KEY, number TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS activated (pair TEXT PRIMARY KEY);
    CREATE INDEX IF NOT EXISTS job_at ON job (at);
";

impl Store {
    /// Opens it, or makes it.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let err = |e| StoreError::Db(path.to_owned(), e);
        let db = Connection::open(path).map_err(err)?;
        db.busy_timeout(PATIENCE).map_err(err)?;
        // SQLite's own patience is not for a change of the journal, nor for what reads while another one changes it.
        let since = Instant::now();
        while let Err(e) = Self::make(&db) {
            if e.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || since.elapsed() >= PATIENCE {
                return Err(err(e));
            }
            thread::sleep(AGAIN);
        }
        Ok(Self { path: path.to_owned(), db })
    }

    /// Does nothing to a store that is made.
    fn make(db: &Connection) -> rusqlite::Result<()> {
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.execute_batch(SCHEMA)
    }

    fn err(&self, e: rusqlite::Error) -> StoreError {
        StoreError::Db(self.path.clone(), e)
    }

    /// Keeps a job with its policy, and what was learned of evidence since the last time: only that is written, and what
    /// others have learned meanwhile stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keep(
        &mut self,
        record: &JobRecord,
        requirement: Option<&Requirement>,
        learned: &Memory,
    ) -> Result<(), StoreError> {
        let path = self.path.clone();
        let content = |e| StoreError::Content(path.clone(), "the record".into(), e);
        let json = serde_json::to_string(record).map_err(content)?;
        let policy = record.policy.map(|p| p.to_string());
        let run = |db: &mut Connection| {
            let tx = db.transaction()?;
            tx.execute(
                "INSERT OR REPLACE INTO job VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![record.job.to_string(), record.at, record.class.to_string(), record.end.word(), policy, json],
            )?;
            if let Some(requirement) = requirement {
                tx.execute(
                    "INSERT OR IGNORE INTO policy VALUES (?1, ?2)",
                    params![requirement.policy.hash().to_string(), &*requirement.text],
                )?;
            }
            for i in &learned.issued {
                tx.execute(
                    "INSERT OR REPLACE INTO issued VALUES (?1, ?2, ?3)",
                    params![i.offer.to_string(), hex::encode(i.nonce), i.at],
                )?;
            }
            if let Some(newest) = learned.issued.iter().map(|i| i.at).max() {
                tx.execute("DELETE FROM issued WHERE at < ?1", [newest.saturating_sub(Memory::KEPT_SECONDS)])?;
            }
            for (collateral, number) in &learned.seen {
                tx.execute(
                    "INSERT INTO seen VALUES (?1, ?2) ON CONFLICT DO UPDATE SET number = max(number, excluded.number)",
                    // Sixteen digits, which sort like the number: SQLite has no unsigned integers.
                    params![collateral, format!("{number:016x}")],
                )?;
            }
            for pair in &learned.activated {
                tx.execute("INSERT OR IGNORE INTO activated VALUES (?1)", [pair])?;
            }
            tx.commit()
        };
        run(&mut self.db).map_err(|e| StoreError::Db(path.clone(), e))
    }

    /// What was learned of evidence.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn memory(&self) -> Result<Memory, StoreError> {
        let read = || {
            let mut rows = self.db.prepare("SELECT offer, nonce, at FROM issued")?;
            let issued = rows.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get(2)?)))?;
            let issued = issued.collect::<Result<Vec<_>, _>>()?;
            let mut rows = self.db.prepare("SELECT collateral, number FROM seen")?;
            let seen = rows.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)))?;
            let seen = seen.collect::<Result<Vec<_>, _>>()?;
            let mut rows = self.db.prepare("SELECT pair FROM activated")?;
            let activated = rows.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
            Ok((issued, seen, activated))
        };
        let (issued, seen, activated) = read().map_err(|e| self.err(e))?;
        let damaged = |what: &str| StoreError::Job(self.path.clone(), format!("what is kept of {what} is damaged"));
        let number = |(collateral, digits): (String, String)| {
            let number = u64::from_str_radix(&digits, 16).map_err(|_| damaged(&collateral))?;
            Ok((collateral, number))
        };
        let seen = seen.into_iter().map(number).collect::<Result<_, StoreError>>()?;
        let parse = |(offer, nonce, at): (String, String, i64)| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(&nonce, &mut bytes).map_err(|_| damaged(&offer))?;
            Ok(Issued { offer: offer.parse().map_err(|_| damaged(&offer))?, nonce: bytes, at })
        };
        let issued = issued.into_iter().map(parse).collect::<Result<_, StoreError>>()?;
        Ok(Memory { issued, seen, activated })
    }

    /// All jobs, the latest first: their records.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn records(&self) -> Result<Vec<JobRecord>, StoreError> {
        let read = || {
            let mut rows = self.db.prepare("SELECT id, record FROM job ORDER BY at DESC, id")?;
            let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        let rows = read().map_err(|e| self.err(e))?;
        let parse = |(id, json): (String, String)| {
            serde_json::from_str(&json).map_err(|e| StoreError::Content(self.path.clone(), id, e))
        };
        rows.into_iter().map(parse).collect()
    }

    /// The job whose id begins so, as the text of its record and that of its policy.
    ///
    /// # Errors
    /// [`StoreError::Job`] if there is none, or more than one.
    pub fn job(&self, prefix: &str) -> Result<(String, Option<String>), StoreError> {
        let prefix = prefix.strip_prefix("job:").unwrap_or(prefix);
        let bad = |why: String| StoreError::Job(self.path.clone(), why);
        if prefix.len() < 4 || !prefix.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(bad(format!(
                "{prefix:?} is no job: give at least four digits of its id, see `eider audit list`"
            )));
        }
        let read = || {
            let sql = "SELECT record, text FROM job LEFT JOIN policy ON hash = policy WHERE id LIKE ?1 LIMIT 2";
            let mut rows = self.db.prepare(sql)?;
            let rows =
                rows.query_map([format!("job:{}%", prefix.to_lowercase())], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        let mut found = read().map_err(|e| self.err(e))?;
        match (found.pop(), found.len()) {
            (None, _) => Err(bad(format!("there is no job {prefix}"))),
            (Some(job), 0) => Ok(job),
            _ => Err(bad(format!("several jobs begin with {prefix}: give more digits"))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn a_store_is_made_by_several_at_once_and_none_is_refused() {
        const AT_ONCE: usize = 4;
        // In memory, where there is such a folder.
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let dir = dir.join(format!("eider-store-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let opened = (0..300).flat_map(|n| {
            let (path, barrier) = (dir.join(format!("{n}.sqlite")), Barrier::new(AT_ONCE));
            let open = || {
                barrier.wait();
                Store::open(&path).map(drop).map_err(|e| e.to_string())
            };
            thread::scope(|scope| [(); AT_ONCE].map(|()| scope.spawn(open)).map(|one| one.join().unwrap()))
        });
        let failed: Vec<_> = opened.filter_map(Result::err).collect();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(failed, [""; 0]);
    }
}

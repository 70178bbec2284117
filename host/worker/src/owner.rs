//! What the machine's owner wants just now: whether jobs may run, by the policy's hours, the battery, the load of
//! everything else, and `eider worker pause`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use chrono::{Local, NaiveTime, Timelike};
use serde::{Deserialize, Deserializer};
use tokio::sync::watch;

/// How often the machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The time over which the kernel averages the load.
const LOAD_WINDOW: Duration = Duration::from_secs(60);
/// Load must stay this far below the limit before jobs are taken again, so that they do not come and go.
const LOAD_HYSTERESIS: f64 = 0.8;

/// A span of the day in local time; may go over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    from: NaiveTime,
    to: NaiveTime,
}

impl Hours {
    fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let time = |t: &str| NaiveTime::parse_from_str(t.trim(), "%H:%M").ok();
        let (from, to) = (time(from)?, time(to)?);
        (from != to).then_some(Self { from, to })
    }

    fn contain(self, now: NaiveTime) -> bool {
        if self.from < self.to { self.from <= now && now < self.to } else { now >= self.from || now < self.to }
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.from.format("%H:%M"), self.to.format("%H:%M"))
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let no = || serde::de::Error::custom(format!("{text:?} is no span of the day: write for example 22:00-07:00"));
        Self::parse(&text).ok_or_else(no)
    }
}

/// When jobs may run.
#[derive(Clone, Debug, PartialEq)]
pub struct Presence {
    /// Only then.
    pub hours: Option<Hours>,
    /// Also on battery.
    pub on_battery: bool,
    /// Only while the load of everything else per processor is below this.
    pub load: Option<f64>,
}

/// What the machine shows of itself.
#[derive(Clone, Copy, Debug)]
struct Look {
    now: NaiveTime,
    on_battery: bool,
    /// Runnable tasks of others, per processor, averaged over a minute.
    load: f64,
}

impl Presence {
    /// Why no job may run now, if none may. `closed` says whether that was so before.
    fn objection(&self, look: Look, closed: bool) -> Option<String> {
        if let Some(hours) = self.hours.filter(|h| !h.contain(look.now)) {
            return Some(format!("the machine is donated {hours} only, by its clock"));
        }
        if look.on_battery && !self.on_battery {
            return Some("the machine runs on battery".into());
        }
        let limit = self.load.map(|l| if closed { l * LOAD_HYSTERESIS } else { l });
        if limit.is_some_and(|l| look.load > l) {
            return Some("the machine's owner is using it".into());
        }
        None
    }
}

/// The average of what runs after `elapsed` more in which so much ran, decayed as the kernel decays its load
/// (`kernel/sched/loadavg.c`). The kernel looks every five seconds: the two averages of the same jobs differ by a twelfth of
/// them at most.
fn averaged(average: f64, running: usize, elapsed: Duration) -> f64 {
    let kept = (-elapsed.as_secs_f64() / LOAD_WINDOW.as_secs_f64()).exp();
    average * kept + running as f64 * (1.0 - kept)
}

/// Looks at the machine for as long as somebody watches, with `running` jobs of ours not counted as load. The present
/// state is there at once.
pub fn watch_owner(
    presence: Presence,
    pause: PauseFile,
    mut running: impl FnMut() -> usize + Send + 'static,
) -> watch::Receiver<Option<String>> {
    let look = move |closed: bool, running: f64| {
        let paused = pause.reason(SystemTime::now());
        paused.or_else(|| presence.objection(Look::at_machine(running), closed))
    };
    let (tell, watched) = watch::channel(look(false, 0.0));
    tokio::spawn(async move {
        let (mut average, mut looked) = (0.0, Instant::now());
        while !tell.is_closed() {
            tokio::time::sleep(LOOK_EVERY).await;
            average = averaged(average, running(), looked.elapsed());
            looked = Instant::now();
            let objection = look(tell.borrow().is_some(), average);
            tell.send_if_modified(|now| {
                let changed = *now != objection;
                if changed {
                    match &objection {
                        Some(reason) => tracing::warn!("no jobs from now on: {reason}"),
                        None => tracing::warn!("jobs are taken again"),
                    }
                    *now = objection;
                }
                changed
            });
        }
    });
    watched
}

impl Look {
    /// With so many jobs of ours in the average of the load.
    fn at_machine(running: f64) -> Self {
        let average = fs::read_to_string("/proc/loadavg").ok();
        let average: f64 = average.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0.0);
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            now: Local::now().time().with_nanosecond(0).unwrap_or_default(),
            on_battery: on_battery(Path::new("/sys/class/power_supply")),
            load: (average - running).max(0.0) / processors as f64,
        }
    }
}

/// Whether a battery is being used up and no mains is connected.
fn on_battery(supplies: &Path) -> bool {
    let Ok(supplies) = fs::read_dir(supplies) else { return false };
    let (mut mains, mut discharging) = (false, false);
    for supply in supplies.flatten() {
        let word = |name: &str| fs::read_to_string(supply.path().join(name)).unwrap_or_default().trim().to_lowercase();
        match word("type").as_str() {
            "mains" | "usb" => mains |= word("online") == "1",
            "battery" if word("scope") != "device" => discharging |= word("status") == "discharging",
            _ => {}
        }
    }
    discharging && !mains
}

/// The file by which `eider worker pause` tells the node's workers. It stays over restarts.
#[derive(Clone, Debug)]
pub struct PauseFile(PathBuf);

impl PauseFile {
    /// In a node's folder.
    pub fn of(home: &Path) -> Self {
        Self(home.join("paused"))
    }

    /// Pauses, until a time if one is said.
    ///
    /// # Errors
    /// Writing the file.
    pub fn pause(&self, until: Option<SystemTime>) -> io::Result<()> {
        if let Some(home) = self.0.parent() {
            fs::create_dir_all(home)?;
        }
        fs::write(&self.0, until.map(|t| humantime::format_rfc3339_seconds(t).to_string()).unwrap_or_default())
    }

    /// Ends a pause; whether there was one.
    ///
    /// # Errors
    /// Removing the file.
    pub fn resume(&self) -> io::Result<bool> {
        match fs::remove_file(&self.0) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Why jobs are paused at `now`, if they are.
    pub fn reason(&self, now: SystemTime) -> Option<String> {
        let text = fs::read_to_string(&self.0).ok()?;
        let until = humantime::parse_rfc3339(text.trim()).ok();
        match until {
            Some(until) if until <= now => None,
            Some(_) => Some(format!("its owner has paused the worker until {}", text.trim())),
            None => Some("its owner has paused the worker".into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(time: &str) -> NaiveTime {
        NaiveTime::parse_from_str(time, "%H:%M").unwrap()
    }

    #[test]
    fn hours_go_over_midnight() {
        let night = Hours::parse("22:00-07:00").unwrap();
        assert!(night.contain(at("23:30")) && night.contain(at("06:59")) && night.contain(at("22:00")));
        assert!(!night.contain(at("07:00")) && !night.contain(at("12:00")));
        let day = Hours::parse("09:00-17:30").unwrap();
        assert!(day.contain(at("09:00")) && !day.contain(at("17:30")) && !day.contain(at("03:00")));
        for bad in ["", "9-17", "25:00-07:00", "08:00-08:00", "08:00"] {
            assert!(Hours::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn jobs_stop_on_battery_and_under_load_and_do_not_come_and_go() {
        let presence = Presence { hours: None, on_battery: false, load: Some(0.5) };
        let look = Look { now: at("12:00"), on_battery: false, load: 0.45 };
        assert_eq!(presence.objection(look, false), None);
        assert!(presence.objection(look, true).is_some(), "not yet low enough to start again");
        assert!(presence.objection(Look { load: 0.6, ..look }, false).is_some());
        assert!(presence.objection(Look { on_battery: true, ..look }, false).unwrap().contains("battery"));
        let anyhow = Presence { on_battery: true, load: None, ..presence };
        assert_eq!(anyhow.objection(Look { on_battery: true, load: 99.0, ..look }, false), None);
    }

    #[test]
    fn what_our_jobs_left_in_the_average_of_the_load_is_not_the_owner() {
        // As the kernel does it, every five seconds; we look every second.
        let kernel = |load: f64, active: f64| load * (-5.0f64 / 60.0).exp() + active * (1.0 - (-5.0f64 / 60.0).exp());
        let (mut load, mut average) = (0.0, 0.0);
        for second in 1..300 {
            // Four jobs run for a minute, then none.
            let running = if second <= 60 { 4 } else { 0 };
            average = averaged(average, running, Duration::from_secs(1));
            if second % 5 == 0 {
                load = kernel(load, running as f64);
            }
            let seen: f64 = load - average;
            assert!(seen.abs() < 4.0 / 12.0, "{seen} after {second} s");
        }
        assert!(load < 0.1);
        // However irregularly it is looked.
        let twice = averaged(averaged(2.0, 4, Duration::from_secs(3)), 4, Duration::from_secs(4));
        assert!((twice - averaged(2.0, 4, Duration::from_secs(7))).abs() < 1e-9);
    }

    #[test]
    fn a_laptop_off_its_charger_is_on_battery_and_a_mouse_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let supply = |name: &str, files: &[(&str, &str)]| {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            for (file, text) in files {
                fs::write(dir.path().join(name).join(file), text).unwrap();
            }
        };
        supply("hid-mouse", &[("type", "Battery\n"), ("scope", "Device\n"), ("status", "Discharging\n")]);
        assert!(!on_battery(dir.path()));
        supply("BAT0", &[("type", "Battery\n"), ("status", "Discharging\n")]);
        supply("AC", &[("type", "Mains\n"), ("online", "0\n")]);
        assert!(on_battery(dir.path()));
        supply("AC", &[("type", "Mains\n"), ("online", "1\n")]);
        assert!(!on_battery(dir.path()));
        assert!(!on_battery(&dir.path().join("none")));
    }

    #[test]
    fn a_pause_lasts_until_it_is_over_or_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = PauseFile::of(dir.path());
        let now = SystemTime::now();
        assert_eq!(file.reason(now), None);
        file.pause(Some(now + Duration::from_secs(60))).unwrap();
        assert!(file.reason(now).unwrap().contains("until"));
        assert_eq!(file.reason(now + Duration::from_secs(61)), None);
        file.pause(None).unwrap();
        assert!(file.reason(now + Duration::from_secs(1_000_000)).is_some());
        assert!(file.resume().unwrap() && !file.resume().unwrap());
        assert_eq!(file.reason(now), None);
    }
}

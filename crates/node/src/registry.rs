//! The table of collectors, and a scrape over it.

use std::time::Instant;

use cupola_exposition::{MetricType, Writer};
use parking_lot::Mutex;
use tracing::{debug, info, warn};

use crate::collector as c;
use crate::collector::statfs::Prober;
use crate::error::{CollectError, Collected, NodeError, SelectionError};
use crate::files::Files;
use crate::options::{NodeOptions, Settings};
use crate::state::State;

/// What a collector works with during one scrape.
pub(crate) struct Ctx<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) state: &'a State,
    pub(crate) files: &'a mut Files,
    pub(crate) out: &'a mut Writer,
}

struct Collector {
    name: &'static str,
    is_default: bool,
    run: fn(&mut Ctx<'_>) -> Collected,
}

const fn on(name: &'static str, run: fn(&mut Ctx<'_>) -> Collected) -> Collector {
    Collector {
        name,
        is_default: true,
        run,
    }
}

// Every collector there is, in the order they run. All of these are on by default in node_exporter too.
static TABLE: [Collector; 27] = [
    on("arp", c::arp::collect),
    on("conntrack", c::conntrack::collect),
    on("cpu", c::cpu::collect),
    on("cpufreq", c::cpufreq::collect),
    on("diskstats", c::diskstats::collect),
    on("entropy", c::entropy::collect),
    on("filefd", c::filefd::collect),
    on("filesystem", c::filesystem::collect),
    on("hwmon", c::hwmon::collect),
    on("kernel_hung", c::kernel_hung::collect),
    on("loadavg", c::loadavg::collect),
    on("meminfo", c::meminfo::collect),
    on("netclass", c::netclass::collect),
    on("netdev", c::netdev::collect),
    on("netstat", c::netstat::collect),
    on("os", c::os::collect),
    on("pressure", c::pressure::collect),
    on("schedstat", c::schedstat::collect),
    on("selinux", c::selinux::collect),
    on("sockstat", c::sockstat::collect),
    on("softnet", c::softnet::collect),
    on("stat", c::stat::collect),
    on("thermal_zone", c::thermal_zone::collect),
    on("time", c::time::collect),
    on("udp_queues", c::udp_queues::collect),
    on("uname", c::uname::collect),
    on("vmstat", c::vmstat::collect),
];

/// The names of all collectors and whether each is on by default: the flags `collector.NAME`.
pub fn collector_names() -> impl Iterator<Item = (&'static str, bool)> {
    TABLE.iter().map(|collector| (collector.name, collector.is_default))
}

/// The host's collectors, ready to be scraped as often as one likes, from several threads at once.
pub struct Collectors {
    settings: Settings,
    state: State,
    enabled: Vec<&'static Collector>,
    // The buffers of the last scrape. Two scrapes at once are rare; the second makes its own.
    files: Mutex<Option<Files>>,
    // Whether each collector of `enabled` succeeded last time: a change is worth a log line, a state is not.
    succeeded: Mutex<Vec<Option<bool>>>,
}

/// Which of the enabled collectors a scrape runs.
#[derive(Debug, Clone)]
pub struct Selection {
    runs: Vec<bool>,
}

impl Collectors {
    /// Sets the collectors up. Reads nothing yet, and starts no thread.
    ///
    /// # Errors
    /// [`NodeError`] where an option is not valid.
    pub fn new(options: NodeOptions) -> Result<Self, NodeError> {
        Self::with_prober(options, Prober::system())
    }

    pub(crate) fn with_prober(options: NodeOptions, mounts: Prober) -> Result<Self, NodeError> {
        let known = |name: &str| TABLE.iter().any(|collector| collector.name == name);
        if let Some(name) = options.collectors.keys().find(|name| !known(name)) {
            return Err(NodeError::UnknownCollector(name.clone()));
        }
        let settings = Settings::new(options)?;
        let enabled: Vec<_> = TABLE
            .iter()
            .filter(|c| settings.is_enabled(c.name, c.is_default))
            .collect();
        Ok(Self {
            state: State {
                cpu: Mutex::default(),
                mounts,
            },
            succeeded: Mutex::new(vec![None; enabled.len()]),
            files: Mutex::new(None),
            enabled,
            settings,
        })
    }

    /// The names of the collectors that run.
    pub fn enabled(&self) -> impl Iterator<Item = &'static str> {
        self.enabled.iter().map(|collector| collector.name)
    }

    /// What the query parameters `collect[]` and `exclude[]` ask for; both empty is everything.
    ///
    /// # Errors
    /// [`SelectionError`] for both at once and for names that do not run; the answer should be 400.
    pub fn select<S: AsRef<str>>(&self, collect: &[S], exclude: &[S]) -> Result<Selection, SelectionError> {
        if !collect.is_empty() && !exclude.is_empty() {
            return Err(SelectionError::Combined);
        }
        for name in collect.iter().map(AsRef::as_ref) {
            if !TABLE.iter().any(|collector| collector.name == name) {
                return Err(SelectionError::Missing(name.to_owned()));
            }
            if !self.enabled().any(|enabled| enabled == name) {
                return Err(SelectionError::Disabled(name.to_owned()));
            }
        }
        let contains = |names: &[S], name: &str| names.iter().any(|n| n.as_ref() == name);
        let runs = self
            .enabled()
            .map(|name| (collect.is_empty() || contains(collect, name)) && !contains(exclude, name));
        Ok(Selection { runs: runs.collect() })
    }

    /// Writes the metrics of all enabled collectors. Costs about a millisecond of CPU on a small machine, nearly all of it the kernel's; takes
    /// longer than `filesystem_mount_timeout` only where a mount has just stopped answering.
    pub fn collect(&self, out: &mut Writer) {
        self.collect_selected(
            &Selection {
                runs: vec![true; self.enabled.len()],
            },
            out,
        );
    }

    /// Writes the metrics of the selected collectors.
    pub fn collect_selected(&self, selection: &Selection, out: &mut Writer) {
        let options = &self.settings.options;
        let mut files = self
            .files
            .lock()
            .take()
            .unwrap_or_else(|| Files::new(&options.procfs, &options.sysfs));
        files.begin_scrape();
        out.refuse_duplicates();
        let mut outcomes = Vec::with_capacity(self.enabled.len());
        for (at, (collector, runs)) in self.enabled.iter().zip(&selection.runs).enumerate() {
            if !runs {
                continue;
            }
            let start = Instant::now();
            let mut ctx = Ctx {
                settings: &self.settings,
                state: &self.state,
                files: &mut files,
                out,
            };
            let outcome = (collector.run)(&mut ctx);
            let seconds = start.elapsed().as_secs_f64();
            self.log_change(at, collector.name, &outcome);
            outcomes.push((collector.name, seconds, outcome.is_ok()));
        }
        *self.files.lock() = Some(files);
        let refused = out.accept_duplicates();
        if refused > 0 {
            debug!(samples = refused, "dropped series that came twice");
        }

        build_info(out);
        out.family(
            "node_scrape_collector_duration_seconds",
            "node_exporter: Duration of a collector scrape.",
            MetricType::Gauge,
        );
        for (name, seconds, _) in &outcomes {
            out.sample(&[("collector", name)], *seconds);
        }
        out.family(
            "node_scrape_collector_success",
            "node_exporter: Whether a collector succeeded.",
            MetricType::Gauge,
        );
        for (name, _, succeeded) in &outcomes {
            out.sample(&[("collector", name)], f64::from(u8::from(*succeeded)));
        }
    }

    fn log_change(&self, at: usize, collector: &str, outcome: &Collected) {
        let mut succeeded = self.succeeded.lock();
        let Some(slot) = succeeded.get_mut(at) else { return };
        let before = slot.replace(outcome.is_ok());
        if before == Some(outcome.is_ok()) {
            return;
        }
        match outcome {
            Ok(()) if before.is_some() => info!(collector, "collector works again"),
            Ok(()) => {}
            Err(error @ CollectError::NoData(_)) => debug!(collector, %error, "collector has no data"),
            Err(error) => warn!(collector, error = error as &dyn std::error::Error, "collector failed"),
        }
    }
}

fn build_info(out: &mut Writer) {
    out.family(
        "node_exporter_build_info",
        "A metric with a constant '1' value labeled by version, revision, branch, goversion from which node_exporter \
         was built, and the goos and goarch for the build.",
        MetricType::Gauge,
    );
    // The labels that dashboards show. There is no Go in us; its names for the machine are what clients compare.
    let goarch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    out.sample(
        &[
            ("branch", ""),
            ("goarch", goarch),
            ("goos", std::env::consts::OS),
            ("goversion", ""),
            ("revision", ""),
            ("tags", "cupola"),
            ("version", env!("CARGO_PKG_VERSION")),
        ],
        1.0,
    );
}

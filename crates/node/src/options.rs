//! What node_exporter's flags decide.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cupola_env::{Clock, SystemClock};
use cupola_goregex::Regex;
use parking_lot::Mutex;

use crate::error::NodeError;

/// The options of node_exporter that concern the collectors we have, each named after its flag.
#[derive(Clone)]
pub struct NodeOptions {
    /// `path.procfs`.
    pub procfs: PathBuf,
    /// `path.sysfs`.
    pub sysfs: PathBuf,
    /// `path.rootfs`: where the host's root file system is mounted.
    pub rootfs: PathBuf,
    /// `path.udev.data`.
    pub udev_data: PathBuf,
    /// `collector.disable-defaults`: only what [`NodeOptions::collectors`] switches on runs.
    pub disable_defaults: bool,
    /// `collector.NAME` (true) and `no-collector.NAME` (false).
    pub collectors: BTreeMap<String, bool>,
    /// `collector.arp.device-include`.
    pub arp_device_include: Option<String>,
    /// `collector.arp.device-exclude`.
    pub arp_device_exclude: Option<String>,
    /// `collector.cpu.guest`.
    pub cpu_guest: bool,
    /// `collector.cpu.info`; the two patterns below switch it on as well.
    pub cpu_info: bool,
    /// `collector.cpu.info.flags-include`.
    pub cpu_info_flags_include: Option<String>,
    /// `collector.cpu.info.bugs-include`.
    pub cpu_info_bugs_include: Option<String>,
    /// `collector.diskstats.device-include`; switches the default exclude off.
    pub diskstats_device_include: Option<String>,
    /// `collector.diskstats.device-exclude`; `None` is node_exporter's default.
    pub diskstats_device_exclude: Option<String>,
    /// `collector.filesystem.mount-points-exclude`; `None` is node_exporter's default.
    pub filesystem_mount_points_exclude: Option<String>,
    /// `collector.filesystem.mount-points-include`; switches the default exclude off.
    pub filesystem_mount_points_include: Option<String>,
    /// `collector.filesystem.fs-types-exclude`; `None` is node_exporter's default.
    pub filesystem_fs_types_exclude: Option<String>,
    /// `collector.filesystem.fs-types-include`; switches the default exclude off.
    pub filesystem_fs_types_include: Option<String>,
    /// `collector.filesystem.mount-timeout`: how long a scrape waits for mounts that do not answer.
    pub filesystem_mount_timeout: Duration,
    /// `collector.hwmon.chip-include`.
    pub hwmon_chip_include: Option<String>,
    /// `collector.hwmon.chip-exclude`.
    pub hwmon_chip_exclude: Option<String>,
    /// `collector.hwmon.sensor-include`, on `chip;sensor`.
    pub hwmon_sensor_include: Option<String>,
    /// `collector.hwmon.sensor-exclude`, on `chip;sensor`.
    pub hwmon_sensor_exclude: Option<String>,
    /// `collector.netclass.ignored-devices`.
    pub netclass_ignored_devices: String,
    /// `collector.netclass.ignore-invalid-speed`.
    pub netclass_ignore_invalid_speed: bool,
    /// `collector.netdev.device-include`.
    pub netdev_device_include: Option<String>,
    /// `collector.netdev.device-exclude`.
    pub netdev_device_exclude: Option<String>,
    /// `collector.netdev.netlink`: ask the kernel's routing socket instead of reading `PROC/net/dev`.
    pub netdev_netlink: bool,
    /// `collector.netstat.fields`.
    pub netstat_fields: String,
    /// `collector.stat.softirq`.
    pub stat_softirq: bool,
    /// `collector.vmstat.fields`.
    pub vmstat_fields: String,
    /// Tells `node_time_seconds`.
    pub clock: Arc<dyn Clock>,
}

pub(crate) const DISKSTATS_EXCLUDE: &str = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";
const MOUNT_POINTS_EXCLUDE: &str =
    "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";
const FS_TYPES_EXCLUDE: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|\
     iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$";
const NETSTAT_FIELDS: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|\
     Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|\
     Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|\
     Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            procfs: PathBuf::from("/proc"),
            sysfs: PathBuf::from("/sys"),
            rootfs: PathBuf::from("/"),
            udev_data: PathBuf::from("/run/udev/data"),
            disable_defaults: false,
            collectors: BTreeMap::new(),
            arp_device_include: None,
            arp_device_exclude: None,
            cpu_guest: true,
            cpu_info: false,
            cpu_info_flags_include: None,
            cpu_info_bugs_include: None,
            diskstats_device_include: None,
            diskstats_device_exclude: None,
            filesystem_mount_points_exclude: None,
            filesystem_mount_points_include: None,
            filesystem_fs_types_exclude: None,
            filesystem_fs_types_include: None,
            filesystem_mount_timeout: Duration::from_secs(5),
            hwmon_chip_include: None,
            hwmon_chip_exclude: None,
            hwmon_sensor_include: None,
            hwmon_sensor_exclude: None,
            netclass_ignored_devices: "^$".to_owned(),
            netclass_ignore_invalid_speed: false,
            netdev_device_include: None,
            netdev_device_exclude: None,
            netdev_netlink: true,
            netstat_fields: NETSTAT_FIELDS.to_owned(),
            stat_softirq: false,
            vmstat_fields: "^(oom_kill|pgpg|pswp|pg.*fault).*".to_owned(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// An include and an exclude pattern, found anywhere in a name.
#[derive(Debug)]
pub(crate) struct Filter {
    include: Option<Regex>,
    exclude: Option<Regex>,
}

impl Filter {
    fn new(
        (include_flag, include): (&'static str, Option<&String>),
        (exclude_flag, exclude): (&'static str, Option<&String>),
        default_exclude: &str,
    ) -> Result<Self, NodeError> {
        let given = |pattern: Option<&String>| pattern.is_some_and(|p| !p.is_empty());
        if given(include) && given(exclude) {
            return Err(NodeError::Exclusive {
                include: include_flag,
                exclude: exclude_flag,
            });
        }
        let exclude = match exclude {
            Some(pattern) => pattern.as_str(),
            None if given(include) => "",
            None => default_exclude,
        };
        let include = include.map_or("", String::as_str);
        Ok(Self {
            include: pattern(include_flag, include)?,
            exclude: pattern(exclude_flag, exclude)?,
        })
    }

    pub(crate) fn is_ignored(&self, name: &str) -> bool {
        self.exclude.as_ref().is_some_and(|re| re.is_match(name))
            || self.include.as_ref().is_some_and(|re| !re.is_match(name))
    }
}

/// A pattern for the names of a kernel's table, which are few and always the same: each is matched once.
#[derive(Debug)]
pub(crate) struct Fields {
    pattern: Option<Regex>,
    known: Mutex<HashMap<String, bool>>,
}

impl Fields {
    fn new(option: &'static str, text: &str) -> Result<Self, NodeError> {
        Ok(Self {
            pattern: pattern(option, text)?,
            known: Mutex::default(),
        })
    }

    pub(crate) fn is_shown(&self, field: &str) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        let mut known = self.known.lock();
        if let Some(is_shown) = known.get(field) {
            return *is_shown;
        }
        let is_shown = pattern.is_match(field);
        known.insert(field.to_owned(), is_shown);
        is_shown
    }
}

fn pattern(option: &'static str, pattern: &str) -> Result<Option<Regex>, NodeError> {
    if pattern.is_empty() {
        return Ok(None);
    }
    let compiled = Regex::unanchored(pattern);
    compiled.map(Some).map_err(|source| NodeError::Pattern {
        option,
        pattern: pattern.to_owned(),
        source,
    })
}

/// The options with their patterns compiled.
pub(crate) struct Settings {
    pub(crate) options: NodeOptions,
    pub(crate) arp_devices: Filter,
    pub(crate) cpu_flags: Option<Regex>,
    pub(crate) cpu_bugs: Option<Regex>,
    pub(crate) disks: Filter,
    pub(crate) mount_points: Filter,
    pub(crate) fs_types: Filter,
    pub(crate) hwmon_chips: Filter,
    pub(crate) hwmon_sensors: Filter,
    pub(crate) netclass_ignored: Option<Regex>,
    pub(crate) netdevs: Filter,
    pub(crate) netstat_fields: Fields,
    pub(crate) vmstat_fields: Fields,
}

impl Settings {
    pub(crate) fn new(options: NodeOptions) -> Result<Self, NodeError> {
        let o = &options;
        Ok(Self {
            arp_devices: Filter::new(
                ("collector.arp.device-include", o.arp_device_include.as_ref()),
                ("collector.arp.device-exclude", o.arp_device_exclude.as_ref()),
                "",
            )?,
            cpu_flags: pattern(
                "collector.cpu.info.flags-include",
                o.cpu_info_flags_include.as_deref().unwrap_or(""),
            )?,
            cpu_bugs: pattern(
                "collector.cpu.info.bugs-include",
                o.cpu_info_bugs_include.as_deref().unwrap_or(""),
            )?,
            disks: Filter::new(
                (
                    "collector.diskstats.device-include",
                    o.diskstats_device_include.as_ref(),
                ),
                (
                    "collector.diskstats.device-exclude",
                    o.diskstats_device_exclude.as_ref(),
                ),
                DISKSTATS_EXCLUDE,
            )?,
            mount_points: Filter::new(
                (
                    "collector.filesystem.mount-points-include",
                    o.filesystem_mount_points_include.as_ref(),
                ),
                (
                    "collector.filesystem.mount-points-exclude",
                    o.filesystem_mount_points_exclude.as_ref(),
                ),
                MOUNT_POINTS_EXCLUDE,
            )?,
            fs_types: Filter::new(
                (
                    "collector.filesystem.fs-types-include",
                    o.filesystem_fs_types_include.as_ref(),
                ),
                (
                    "collector.filesystem.fs-types-exclude",
                    o.filesystem_fs_types_exclude.as_ref(),
                ),
                FS_TYPES_EXCLUDE,
            )?,
            hwmon_chips: Filter::new(
                ("collector.hwmon.chip-include", o.hwmon_chip_include.as_ref()),
                ("collector.hwmon.chip-exclude", o.hwmon_chip_exclude.as_ref()),
                "",
            )?,
            hwmon_sensors: Filter::new(
                ("collector.hwmon.sensor-include", o.hwmon_sensor_include.as_ref()),
                ("collector.hwmon.sensor-exclude", o.hwmon_sensor_exclude.as_ref()),
                "",
            )?,
            netclass_ignored: pattern("collector.netclass.ignored-devices", &o.netclass_ignored_devices)?,
            netdevs: Filter::new(
                ("collector.netdev.device-include", o.netdev_device_include.as_ref()),
                ("collector.netdev.device-exclude", o.netdev_device_exclude.as_ref()),
                "",
            )?,
            netstat_fields: Fields::new("collector.netstat.fields", &o.netstat_fields)?,
            vmstat_fields: Fields::new("collector.vmstat.fields", &o.vmstat_fields)?,
            options,
        })
    }

    pub(crate) fn has_cpu_info(&self) -> bool {
        self.options.cpu_info || self.cpu_flags.is_some() || self.cpu_bugs.is_some()
    }

    pub(crate) fn is_enabled(&self, name: &str, default: bool) -> bool {
        let default = default && !self.options.disable_defaults;
        self.options.collectors.get(name).copied().unwrap_or(default)
    }
}

//! `PROC/diskstats`, and who the disks are: sysfs and udev's data base.

use cupola_exposition::MetricType::{self, Counter, Gauge};

use crate::error::{CollectError, Collected};
use crate::files::Files;
use crate::parse::{float, lines, text, uint, words};
use crate::registry::Ctx;

// The columns behind the device's name: name, help, kind, divisor. Older kernels have fewer columns; what they lack is
// not shown.
const COLUMNS: [(&str, &str, MetricType, f64); 17] = [
    (
        "node_disk_reads_completed_total",
        "The total number of reads completed successfully.",
        Counter,
        1.0,
    ),
    (
        "node_disk_reads_merged_total",
        "The total number of reads merged.",
        Counter,
        1.0,
    ),
    (
        "node_disk_read_bytes_total",
        "The total number of bytes read successfully.",
        Counter,
        PER_SECTOR,
    ),
    (
        "node_disk_read_time_seconds_total",
        "The total number of seconds spent by all reads.",
        Counter,
        MILLIS,
    ),
    (
        "node_disk_writes_completed_total",
        "The total number of writes completed successfully.",
        Counter,
        1.0,
    ),
    (
        "node_disk_writes_merged_total",
        "The number of writes merged.",
        Counter,
        1.0,
    ),
    (
        "node_disk_written_bytes_total",
        "The total number of bytes written successfully.",
        Counter,
        PER_SECTOR,
    ),
    (
        "node_disk_write_time_seconds_total",
        "This is the total number of seconds spent by all writes.",
        Counter,
        MILLIS,
    ),
    (
        "node_disk_io_now",
        "The number of I/Os currently in progress.",
        Gauge,
        1.0,
    ),
    (
        "node_disk_io_time_seconds_total",
        "Total seconds spent doing I/Os.",
        Counter,
        MILLIS,
    ),
    (
        "node_disk_io_time_weighted_seconds_total",
        "The weighted # of seconds spent doing I/Os.",
        Counter,
        MILLIS,
    ),
    (
        "node_disk_discards_completed_total",
        "The total number of discards completed successfully.",
        Counter,
        1.0,
    ),
    (
        "node_disk_discards_merged_total",
        "The total number of discards merged.",
        Counter,
        1.0,
    ),
    (
        "node_disk_discarded_sectors_total",
        "The total number of sectors discarded successfully.",
        Counter,
        1.0,
    ),
    (
        "node_disk_discard_time_seconds_total",
        "This is the total number of seconds spent by all discards.",
        Counter,
        MILLIS,
    ),
    (
        "node_disk_flush_requests_total",
        "The total number of flush requests completed successfully",
        Counter,
        1.0,
    ),
    (
        "node_disk_flush_requests_time_seconds_total",
        "This is the total number of seconds spent by all flush requests.",
        Counter,
        MILLIS,
    ),
];
const MILLIS: f64 = 1000.0;
// Sectors are of 512 bytes here whatever the disk has.
const PER_SECTOR: f64 = 1.0 / 512.0;

#[derive(Debug, Default)]
struct Disk {
    name: String,
    major: String,
    minor: String,
    values: Vec<f64>,
    rotational: bool,
    udev: Vec<(String, String)>,
}

impl Disk {
    fn udev(&self, key: &str) -> &str {
        self.udev.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str())
    }

    // Usually what is printed on the disk's label; virtual disks have only the last.
    fn serial(&self) -> &str {
        let all = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"].map(|key| self.udev(key));
        all.into_iter().find(|serial| !serial.is_empty()).unwrap_or("")
    }
}

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let mut disks = Vec::new();
    for line in lines(ctx.files.proc("diskstats")?) {
        let mut words = words(line);
        let (Some(major), Some(minor), Some(name)) = (words.next(), words.next(), words.next()) else {
            return Err(CollectError::parse("diskstats", "expected major, minor and name"));
        };
        let name = text(name).into_owned();
        if ctx.settings.disks.is_ignored(&name) {
            continue;
        }
        let values = words.map_while(float).take(COLUMNS.len()).collect();
        let [major, minor] = [major, minor].map(|word| text(word).into_owned());
        disks.push(Disk {
            name,
            major,
            minor,
            values,
            ..Disk::default()
        });
    }
    for disk in &mut disks {
        // One file of the queue folder: reading all of them once made node_exporter ten times slower.
        disk.rotational = ctx.files.number(&format!("block/{}/queue/rotational", disk.name)) == Some(1);
        disk.udev = udev(ctx.files, &ctx.settings.options.udev_data, &disk.major, &disk.minor);
    }
    info(ctx, &disks);
    for (column, (name, help, kind, divisor)) in COLUMNS.into_iter().enumerate() {
        ctx.out.family(name, help, kind);
        for disk in &disks {
            if let Some(value) = disk.values.get(column) {
                ctx.out.sample(&[("device", &disk.name)], value / divisor);
            }
        }
    }
    Ok(())
}

fn info(ctx: &mut Ctx<'_>, disks: &[Disk]) {
    ctx.out
        .family("node_disk_info", "Info of /sys/block/<block_device>.", Gauge);
    for disk in disks {
        ctx.out.sample(
            &[
                ("device", disk.name.as_str()),
                ("major", &disk.major),
                ("minor", &disk.minor),
                ("model", disk.udev("ID_MODEL")),
                ("path", disk.udev("ID_PATH")),
                ("revision", disk.udev("ID_REVISION")),
                ("rotational", if disk.rotational { "1" } else { "0" }),
                ("serial", disk.serial()),
                ("wwn", disk.udev("ID_WWN")),
            ],
            1.0,
        );
    }
    ctx.out
        .family("node_disk_filesystem_info", "Info about disk filesystem.", Gauge);
    for disk in disks.iter().filter(|disk| !disk.udev("ID_FS_TYPE").is_empty()) {
        ctx.out.sample(
            &[
                ("device", disk.name.as_str()),
                ("type", disk.udev("ID_FS_TYPE")),
                ("usage", disk.udev("ID_FS_USAGE")),
                ("uuid", disk.udev("ID_FS_UUID")),
                ("version", disk.udev("ID_FS_VERSION")),
            ],
            1.0,
        );
    }
    ctx.out
        .family("node_disk_device_mapper_info", "Info about disk device mapper.", Gauge);
    for disk in disks.iter().filter(|disk| !disk.udev("DM_NAME").is_empty()) {
        ctx.out.sample(
            &[
                ("device", disk.name.as_str()),
                ("lv_layer", disk.udev("DM_LV_LAYER")),
                ("lv_name", disk.udev("DM_LV_NAME")),
                ("name", disk.udev("DM_NAME")),
                ("uuid", disk.udev("DM_UUID")),
                ("vg_name", disk.udev("DM_VG_NAME")),
            ],
            1.0,
        );
    }
    for (key, name, help) in [
        (
            "ID_ATA_WRITE_CACHE",
            "node_disk_ata_write_cache",
            "ATA disk has a write cache.",
        ),
        (
            "ID_ATA_WRITE_CACHE_ENABLED",
            "node_disk_ata_write_cache_enabled",
            "ATA disk has its write cache enabled.",
        ),
        (
            "ID_ATA_ROTATION_RATE_RPM",
            "node_disk_ata_rotation_rate_rpm",
            "ATA disk rotation rate in RPMs (0 for SSDs).",
        ),
    ] {
        ctx.out.family(name, help, Gauge);
        for disk in disks.iter().filter(|disk| !disk.udev("ID_ATA").is_empty()) {
            if let Some(value) = float(disk.udev(key).as_bytes()) {
                ctx.out.sample(&[("device", &disk.name)], value);
            }
        }
    }
}

// The properties (`E:KEY=value`) udev keeps of a block device; none where it does not know it or does not run.
fn udev(files: &mut Files, dir: &std::path::Path, major: &str, minor: &str) -> Vec<(String, String)> {
    if uint(major.as_bytes()).is_none() || uint(minor.as_bytes()).is_none() {
        return Vec::new();
    }
    let Ok(content) = files.any(&dir.join(format!("b{major}:{minor}"))) else {
        return Vec::new();
    };
    let properties = lines(content).filter_map(|line| {
        let property = line.strip_prefix(b"E:")?;
        let equals = property.iter().position(|b| *b == b'=')?;
        let (key, value) = property.split_at(equals);
        Some((text(key).into_owned(), text(value.get(1..)?).into_owned()))
    });
    properties.collect()
}

//! Mounted file systems: `PROC/1/mountinfo` and `statfs`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use cupola_exposition::MetricType::Gauge;
use rustix::io::Errno;

use super::statfs::{Outcome, Sizes};
use crate::error::{CollectError, Collected};
use crate::parse::{lines, text, words};
use crate::registry::Ctx;

/// A mount as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    device: String,
    mountpoint: String,
    fstype: String,
    major: String,
    minor: String,
    is_readonly: bool,
}

type Value = fn(&Sizes) -> f64;

const SIZES: [(&str, &str, Value); 5] = [
    (
        "node_filesystem_avail_bytes",
        "Filesystem space available to non-root users in bytes.",
        |sizes| sizes.avail,
    ),
    ("node_filesystem_files", "Filesystem total file nodes.", |sizes| {
        sizes.files
    }),
    (
        "node_filesystem_files_free",
        "Filesystem total free file nodes.",
        |sizes| sizes.files_free,
    ),
    (
        "node_filesystem_free_bytes",
        "Filesystem free space in bytes.",
        |sizes| sizes.free,
    ),
    ("node_filesystem_size_bytes", "Filesystem size in bytes.", |sizes| {
        sizes.size
    }),
];

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let options = &ctx.settings.options;
    // What process 1 sees is the host's view. Where it may not be read (hidepid), our own must do.
    let table = ctx.files.proc_first(&["1/mountinfo", "self/mountinfo"])?;
    let mut mounts = Vec::new();
    let mut seen = HashSet::new();
    for line in lines(table) {
        let mut mount =
            parse(line).ok_or_else(|| CollectError::parse("mountinfo", "expected ten fields and a dash"))?;
        mount.mountpoint = strip_root(&options.rootfs, &mount.mountpoint);
        if ctx.settings.fs_types.is_ignored(&mount.fstype) || ctx.settings.mount_points.is_ignored(&mount.mountpoint) {
            continue;
        }
        // The same thing mounted over itself: one series.
        if seen.insert((mount.device.clone(), mount.mountpoint.clone(), mount.fstype.clone())) {
            mounts.push(mount);
        }
    }
    let paths: Vec<PathBuf> = mounts
        .iter()
        .map(|mount| options.rootfs.join(mount.mountpoint.trim_start_matches('/')))
        .collect();
    let outcomes = ctx.state.mounts.probe(&paths, options.filesystem_mount_timeout);
    let rows: Vec<(Mount, Outcome, String)> = mounts
        .into_iter()
        .zip(outcomes)
        .map(|(mount, outcome)| (mount, outcome, device_error(outcome)))
        .collect();
    write(ctx, &rows);
    Ok(())
}

fn write(ctx: &mut Ctx<'_>, rows: &[(Mount, Outcome, String)]) {
    fn labels<'a>(mount: &'a Mount, error: &'a str) -> [(&'static str, &'a str); 4] {
        [
            ("device", &mount.device),
            ("device_error", error),
            ("fstype", &mount.fstype),
            ("mountpoint", &mount.mountpoint),
        ]
    }
    for (name, help, value) in SIZES {
        ctx.out.family(name, help, Gauge);
        for (mount, outcome, error) in rows {
            if let Outcome::Sizes(sizes) = outcome {
                ctx.out.sample(&labels(mount, error), value(sizes));
            }
        }
    }
    ctx.out.family(
        "node_filesystem_device_error",
        "Whether an error occurred while getting statistics for the given device.",
        Gauge,
    );
    for (mount, _, error) in rows {
        ctx.out
            .sample(&labels(mount, error), f64::from(u8::from(!error.is_empty())));
    }
    ctx.out
        .family("node_filesystem_readonly", "Filesystem read-only status.", Gauge);
    for (mount, _, error) in rows {
        ctx.out
            .sample(&labels(mount, error), f64::from(u8::from(mount.is_readonly)));
    }
    ctx.out
        .family("node_filesystem_mount_info", "Filesystem mount information.", Gauge);
    let mut seen = HashSet::new();
    for (mount, ..) in rows {
        // The type is no label here, so two mounts may come to the same series.
        if seen.insert((&mount.device, &mount.major, &mount.minor, &mount.mountpoint)) {
            let labels = [
                ("device", &mount.device),
                ("major", &mount.major),
                ("minor", &mount.minor),
                ("mountpoint", &mount.mountpoint),
            ];
            ctx.out.sample(&labels, 1.0);
        }
    }
}

fn device_error(outcome: Outcome) -> String {
    match outcome {
        Outcome::Sizes(_) => String::new(),
        // node_exporter's word; alert rules match it.
        Outcome::Stuck => "mountpoint timeout".to_owned(),
        Outcome::Failed(errno) => errno_text(errno),
    }
}

// Go's texts for the errors a mount gives, in lower case and without the number that Rust adds.
fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}

// `36 35 98:0 /root /mount/point rw,noatime shared:1 - ext3 /dev/sda rw,errors=continue`: any number of optional fields
// before the dash.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = words(line).skip(2);
    let number = fields.next()?;
    let mountpoint = unescape(fields.nth(1)?);
    let options = fields.next()?;
    let mut fields = fields.skip_while(|word| *word != b"-").skip(1);
    let fstype = text(fields.next()?).into_owned();
    let device = unescape(fields.next()?);
    let super_options = fields.next().unwrap_or(&[]);
    let colon = number.iter().position(|b| *b == b':')?;
    let (major, minor) = number.split_at(colon);
    let is_readonly = [options, super_options].into_iter().any(|options| {
        options
            .split(|b| *b == b',')
            .any(|option| matches!(option, b"ro" | b"emergency_ro"))
    });
    Some(Mount {
        device,
        mountpoint,
        fstype,
        major: text(major).into_owned(),
        minor: text(minor.get(1..)?).into_owned(),
        is_readonly,
    })
}

// The kernel writes blanks within a field as octal.
fn unescape(field: &[u8]) -> String {
    let text = text(field);
    if text.contains('\\') {
        text.replace("\\040", " ").replace("\\011", "\t")
    } else {
        text.into_owned()
    }
}

// Seen from a container, the host's mounts lie below `rootfs`; the labels tell where the host has them.
fn strip_root(rootfs: &Path, mountpoint: &str) -> String {
    let Some(root) = rootfs
        .to_str()
        .map(|root| root.trim_end_matches('/'))
        .filter(|root| !root.is_empty())
    else {
        return mountpoint.to_owned();
    };
    match mountpoint.strip_prefix(root) {
        Some("") => "/".to_owned(),
        Some(rest) if rest.starts_with('/') => rest.to_owned(),
        _ => mountpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = b"31 27 0:28 / /mnt/with\\040blank rw,relatime shared:1 master:2 - nfs4 host:/ex\\040port ro,vers=4";
        let mount = parse(line).unwrap();
        assert_eq!(
            (mount.device.as_str(), mount.mountpoint.as_str()),
            ("host:/ex port", "/mnt/with blank")
        );
        assert_eq!(
            (mount.major.as_str(), mount.minor.as_str(), mount.fstype.as_str()),
            ("0", "28", "nfs4")
        );
        assert!(mount.is_readonly);
        let line = b"31 27 0:28 / /a rw,norohide - tmpfs tmpfs rw,errors=remount-ro";
        assert!(!parse(line).unwrap().is_readonly);
        assert_eq!(parse(b"31 27 0:28 / /a rw"), None);
    }

    #[test]
    fn the_root_is_taken_off_whole_folders_only() {
        for (root, mountpoint, stripped) in [
            ("/", "/var", "/var"),
            ("/host/root", "/host/root", "/"),
            ("/host/root", "/host/root/var", "/var"),
            ("/host/root/", "/host/root/var", "/var"),
            ("/host/root", "/host/rootless", "/host/rootless"),
        ] {
            assert_eq!(strip_root(Path::new(root), mountpoint), stripped);
        }
    }

    #[test]
    fn errors_read_as_in_go() {
        assert_eq!(errno_text(Errno::ACCESS), "permission denied");
        assert_eq!(errno_text(Errno::NOENT), "no such file or directory");
    }
}

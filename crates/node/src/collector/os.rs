//! Which distribution this is: `ROOTFS/etc/os-release`, else `ROOTFS/usr/lib/os-release`.

use cupola_exposition::MetricType::Gauge;

use crate::error::{CollectError, Collected};
use crate::parse::{float, lines};
use crate::registry::Ctx;

// Label, key of the file.
const INFO: [(&str, &str); 12] = [
    ("build_id", "BUILD_ID"),
    ("id", "ID"),
    ("id_like", "ID_LIKE"),
    ("image_id", "IMAGE_ID"),
    ("image_version", "IMAGE_VERSION"),
    ("name", "NAME"),
    ("pretty_name", "PRETTY_NAME"),
    ("variant", "VARIANT"),
    ("variant_id", "VARIANT_ID"),
    ("version", "VERSION"),
    ("version_codename", "VERSION_CODENAME"),
    ("version_id", "VERSION_ID"),
];

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let rootfs = &ctx.settings.options.rootfs;
    let mut content = None;
    for path in ["etc/os-release", "usr/lib/os-release"] {
        match ctx.files.any(&rootfs.join(path)) {
            Ok(found) => {
                content = Some(found.to_vec());
                break;
            }
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    let content = content.ok_or_else(|| CollectError::NoData("os-release".to_owned()))?;
    let release = parse(&content);
    let value = |key: &str| {
        release
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map_or("", |(_, v)| v.as_str())
    };

    ctx.out.family(
        "node_os_info",
        "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, \
         pretty_name, variant, variant_id, version, version_codename, version_id.",
        Gauge,
    );
    ctx.out.sample(&INFO.map(|(label, key)| (label, value(key))), 1.0);

    let version = major_minor(value("VERSION_ID"));
    if version > 0.0 {
        ctx.out.family(
            "node_os_version",
            "Metric containing the major.minor part of the OS version.",
            Gauge,
        );
        let labels = [
            ("id", value("ID")),
            ("id_like", value("ID_LIKE")),
            ("name", value("NAME")),
        ];
        ctx.out.sample(&labels, version);
    }
    let end = value("SUPPORT_END");
    if !end.is_empty() {
        let date: jiff::civil::Date = end
            .parse()
            .map_err(|_| CollectError::parse("os-release", "expected SUPPORT_END to be a date"))?;
        let midnight = date.to_zoned(jiff::tz::TimeZone::UTC);
        let midnight = midnight.map_err(|_| CollectError::parse("os-release", "SUPPORT_END is out of range"))?;
        ctx.out.single(
            "node_os_support_end_timestamp_seconds",
            "Metric containing the end-of-life date timestamp of the OS.",
            Gauge,
            midnight.timestamp().as_second() as f64,
        );
    }
    Ok(())
}

fn parse(content: &[u8]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for line in lines(content) {
        let line = String::from_utf8_lossy(line.trim_ascii());
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        if !key.starts_with('#') {
            out.push((key.trim().to_owned(), unquote(value.trim())));
        }
    }
    out
}

// As a shell would, which is what the file is written for: quotes around the whole, backslashes within double ones.
fn unquote(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')) {
        return inner.to_owned();
    }
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

// `20.04.2` is 20.04; no number at the beginning is 0.
fn major_minor(version: &str) -> f64 {
    let is_digit = |b: &u8| b.is_ascii_digit();
    let major = version.bytes().take_while(|b| is_digit(b)).count();
    let rest = version.get(major..).unwrap_or("");
    let minor = rest
        .strip_prefix('.')
        .map_or(0, |rest| 1 + rest.bytes().take_while(|b| is_digit(b)).count());
    version
        .get(..major + minor)
        .and_then(|number| float(number.as_bytes()))
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_quotes() {
        for (version, number) in [
            ("20.04.2", 20.04),
            ("13", 13.0),
            ("13.", 13.0),
            ("rolling", 0.0),
            ("", 0.0),
        ] {
            assert_eq!(major_minor(version), number, "{version}");
        }
        let release = parse(b"# x=y\nNAME=\"A \\\"B\\\"\"\nID='c d'\n\nVERSION=3\nbroken\n");
        let pairs: Vec<_> = release.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("NAME", "A \"B\""), ("ID", "c d"), ("VERSION", "3")]);
    }
}

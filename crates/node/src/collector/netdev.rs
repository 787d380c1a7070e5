//! Counters of the network devices, from the routing socket or from `PROC/net/dev`.

use cupola_exposition::MetricType::Counter;

use crate::error::{CollectError, Collected};
use crate::parse::{lines, text, uint, words};
use crate::registry::Ctx;

// The metric's middle, and the kernel's counters it is the sum of. The kernel folds the same way in `PROC/net/dev`,
// and the names come from there.
const STATS: [(&str, &[usize]); 17] = [
    ("receive_bytes", &[2]),
    ("receive_packets", &[0]),
    ("receive_errs", &[4]),
    // Dropped, missed.
    ("receive_drop", &[6, 15]),
    ("receive_fifo", &[14]),
    // Length, over, CRC, frame.
    ("receive_frame", &[10, 11, 12, 13]),
    ("receive_compressed", &[21]),
    ("receive_multicast", &[8]),
    ("transmit_bytes", &[3]),
    ("transmit_packets", &[1]),
    ("transmit_errs", &[5]),
    ("transmit_drop", &[7]),
    ("transmit_fifo", &[18]),
    ("transmit_colls", &[9]),
    // Aborted, carrier, heartbeat, window.
    ("transmit_carrier", &[16, 17, 19, 20]),
    ("transmit_compressed", &[22]),
    // Not in `PROC/net/dev`; must stay last.
    ("receive_nohandler", &[23]),
];

struct Device {
    name: String,
    // In the order of `STATS`; without the last where it is not known.
    values: Vec<u64>,
}

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let mut devices = if ctx.settings.options.netdev_netlink {
        from_netlink(ctx)?
    } else {
        from_proc(ctx)?
    };
    devices.retain(|device| !ctx.settings.netdevs.is_ignored(&device.name));
    for (at, (stat, _)) in STATS.into_iter().enumerate() {
        let name = format!("node_network_{stat}_total");
        ctx.out
            .family(&name, &format!("Network device statistic {stat}."), Counter);
        for device in &devices {
            if let Some(value) = device.values.get(at) {
                ctx.out.sample(&[("device", &device.name)], *value as f64);
            }
        }
    }
    Ok(())
}

fn from_netlink(ctx: &mut Ctx<'_>) -> Result<Vec<Device>, CollectError> {
    let links = ctx.files.links()?;
    let devices = links.iter().map(|link| Device {
        values: STATS
            .iter()
            .map(|(_, parts)| {
                parts
                    .iter()
                    .fold(0_u64, |sum, part| sum.wrapping_add(link.counter(*part)))
            })
            .collect(),
        name: link.name.clone(),
    });
    Ok(devices.collect())
}

fn from_proc(ctx: &mut Ctx<'_>) -> Result<Vec<Device>, CollectError> {
    // Two lines of headings.
    let devices = lines(ctx.files.proc("net/dev")?).skip(2).map(device);
    devices.collect()
}

fn device(line: &[u8]) -> Result<Device, CollectError> {
    let malformed = || CollectError::parse("net/dev", "expected a name, a colon and 16 counters");
    // Names may hold colons, counters do not.
    let colon = line.iter().rposition(|b| *b == b':').ok_or_else(malformed)?;
    let (name, counters) = line.split_at(colon);
    let values: Option<Vec<u64>> = words(counters.get(1..).unwrap_or(&[])).map(uint).collect();
    let values = values
        .filter(|values| values.len() >= STATS.len() - 1)
        .ok_or_else(malformed)?;
    let values = values.into_iter().take(STATS.len() - 1).collect();
    Ok(Device {
        name: text(name.trim_ascii()).into_owned(),
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_net_dev() {
        let device = device(b"  eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16").unwrap();
        assert_eq!(device.name, "eth0:1");
        assert_eq!(device.values, (1..=16).collect::<Vec<u64>>());
        assert!(super::device(b"eth0: 1 2").is_err());
        assert!(super::device(b"no colon").is_err());
    }
}

//! `SYS/class/net`: what kind of device each network device is and whether it is up.
//!
//! Machines with hundreds of containers have hundreds of devices with some twenty files each. So what the routing
//! socket tells of a device is taken from there, which a test compares with the files.

use std::path::Path;

use cupola_exposition::MetricType::{self, Counter, Gauge};

use crate::error::{CollectError, Collected};
use crate::files::Files;
use crate::netlink::{Link, ifla};
use crate::registry::Ctx;

// File below the device, the metric's end, kind.
const NUMBERS: [(&str, &str, MetricType); 17] = [
    ("addr_assign_type", "address_assign_type", Gauge),
    ("carrier", "carrier", Gauge),
    ("carrier_changes", "carrier_changes_total", Counter),
    ("carrier_up_count", "carrier_up_changes_total", Counter),
    ("carrier_down_count", "carrier_down_changes_total", Counter),
    ("dev_id", "device_id", Gauge),
    ("dormant", "dormant", Gauge),
    (FLAGS, "flags", Gauge),
    ("ifindex", "iface_id", Gauge),
    ("iflink", "iface_link", Gauge),
    ("link_mode", "iface_link_mode", Gauge),
    ("mtu", "mtu_bytes", Gauge),
    ("name_assign_type", "name_assign_type", Gauge),
    ("netdev_group", "net_dev_group", Gauge),
    ("type", "protocol_type", Gauge),
    (SPEED, "speed_bytes", Gauge),
    ("tx_queue_len", "transmit_queue_length", Gauge),
];
const FLAGS: &str = "flags";
const SPEED: &str = "speed";
const IFF_UP: i64 = 1;
const IFF_DORMANT: u32 = 0x2_0000;

struct Device {
    name: String,
    address: String,
    broadcast: String,
    duplex: String,
    operstate: String,
    ifalias: String,
    // In the order of `NUMBERS`; a file that cannot be read is no number.
    numbers: Vec<Option<i64>>,
}

impl Device {
    fn number(&self, file: &str) -> Option<i64> {
        let at = NUMBERS.iter().position(|(known, ..)| *known == file)?;
        self.numbers.get(at).copied().flatten()
    }
}

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let root = ctx.files.sys_path("class/net");
    if !root.is_dir() {
        return Err(CollectError::NoData("class/net".to_owned()));
    }
    // Only for the machine's own sysfs do we know that the socket speaks of the same devices.
    let options = &ctx.settings.options;
    let links = if options.netdev_netlink && options.sysfs == Path::new("/sys") {
        ctx.files.links().ok()
    } else {
        None
    };
    let mut devices = Vec::new();
    for name in ctx.files.sys_names("class/net") {
        let is_ignored = ctx
            .settings
            .netclass_ignored
            .as_ref()
            .is_some_and(|re| re.is_match(&name));
        if !is_ignored {
            let link = links
                .iter()
                .flat_map(|links| links.iter())
                .find(|link| link.name == name);
            // `bonding_masters` is a plain file among the devices, and not read as one.
            devices.extend(read(ctx.files, name, link));
        }
    }
    write(ctx, &devices);
    Ok(())
}

// What `link` tells is not read from its file. `None` where the device has just gone.
fn read(files: &mut Files, name: String, link: Option<&Link>) -> Option<Device> {
    let dir = files.sys_dir(&format!("class/net/{name}"))?;
    let mut number = |file: &str| match link.and_then(|link| told(link, file)) {
        Some(value) => value,
        None => files.number_in(&dir, file),
    };
    let numbers = NUMBERS.iter().map(|(file, ..)| number(file)).collect();
    let mut attribute = |file: &str| files.attribute_in(&dir, file).unwrap_or_default();
    Some(Device {
        address: link.map_or_else(|| attribute("address"), |link| hardware_address(&link.address)),
        broadcast: link.map_or_else(|| attribute("broadcast"), |link| hardware_address(&link.broadcast)),
        duplex: attribute("duplex"),
        operstate: link
            .and_then(operstate)
            .map_or_else(|| attribute("operstate"), str::to_owned),
        ifalias: link.map_or_else(|| attribute("ifalias"), |link| link.alias.clone()),
        numbers,
        name,
    })
}

// What the file would hold, if `link` knows: the inner `None` is for a file that cannot be read.
fn told(link: &Link, file: &str) -> Option<Option<i64>> {
    let is_up = i64::from(link.flags) & IFF_UP != 0;
    let number = |ifla| link.number(ifla).map(|value| Some(i64::from(value)));
    match file {
        // These fail to be read while the device is down.
        "carrier" if !is_up => Some(None),
        "dormant" => Some(is_up.then_some(i64::from(link.flags & IFF_DORMANT != 0))),
        "carrier" => number(ifla::CARRIER),
        "carrier_changes" => number(ifla::CARRIER_CHANGES),
        "carrier_up_count" => number(ifla::CARRIER_UP_COUNT),
        "carrier_down_count" => number(ifla::CARRIER_DOWN_COUNT),
        "ifindex" => Some(Some(i64::from(link.index))),
        // Left out where it is the device itself.
        "iflink" => Some(Some(i64::from(link.number(ifla::LINK).unwrap_or(link.index)))),
        "link_mode" => number(ifla::LINKMODE),
        "mtu" => number(ifla::MTU),
        "netdev_group" => number(ifla::GROUP),
        "tx_queue_len" => number(ifla::TXQLEN),
        "type" => Some(Some(i64::from(link.kind))),
        _ => None,
    }
}

fn hardware_address(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 3);
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            out.push(':');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

// RFC 2863, numbered as in the kernel.
fn operstate(link: &Link) -> Option<&'static str> {
    const NAMES: [&str; 7] = [
        "unknown",
        "notpresent",
        "down",
        "lowerlayerdown",
        "testing",
        "dormant",
        "up",
    ];
    NAMES.get(usize::from(link.operstate?)).copied()
}

fn write(ctx: &mut Ctx<'_>, devices: &[Device]) {
    ctx.out.family(
        "node_network_up",
        "Value is 1 if operstate is 'up', 0 otherwise.",
        Gauge,
    );
    for device in devices {
        ctx.out.sample(
            &[("device", &device.name)],
            f64::from(u8::from(device.operstate == "up")),
        );
    }
    ctx.out.family(
        "node_network_info",
        "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
        Gauge,
    );
    for device in devices {
        let adminstate = match device.number(FLAGS) {
            None => "unknown",
            Some(flags) if flags & IFF_UP != 0 => "up",
            Some(_) => "down",
        };
        ctx.out.sample(
            &[
                ("address", device.address.as_str()),
                ("adminstate", adminstate),
                ("broadcast", &device.broadcast),
                ("device", &device.name),
                ("duplex", &device.duplex),
                ("ifalias", &device.ifalias),
                ("operstate", &device.operstate),
            ],
            1.0,
        );
    }
    for (at, (file, end, kind)) in NUMBERS.into_iter().enumerate() {
        let name = format!("node_network_{end}");
        ctx.out.family(&name, &format!("Network device property: {end}"), kind);
        for device in devices {
            let Some(mut value) = device.numbers.get(at).copied().flatten() else {
                continue;
            };
            if file == SPEED {
                // Some drivers say -1 for "unknown".
                if value < 0 && ctx.settings.options.netclass_ignore_invalid_speed {
                    continue;
                }
                value = value.saturating_mul(1_000_000) / 8;
            }
            ctx.out.sample(&[("device", &device.name)], value as f64);
        }
    }
}

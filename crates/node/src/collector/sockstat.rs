//! `PROC/net/sockstat` and `sockstat6`: sockets by protocol.

use cupola_exposition::MetricType::Gauge;

use crate::error::Collected;
use crate::parse::{float, lines, text, words};
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let page_size = rustix::param::page_size() as f64;
    for path in ["net/sockstat", "net/sockstat6"] {
        let table = match ctx.files.proc(path) {
            Ok(table) => table,
            // Absent where the kernel has no such protocol.
            Err(error) if error.is_absent() => continue,
            Err(error) => return Err(error),
        };
        // `TCP: inuse 4 orphan 0 tw 4 alloc 17 mem 1`
        for line in lines(table) {
            let mut words = words(line);
            let Some(protocol) = words.next().and_then(|word| word.strip_suffix(b":")) else {
                continue;
            };
            let protocol = text(protocol);
            while let (Some(key), Some(value)) = (words.next(), words.next()) {
                let (key, Some(value)) = (text(key), float(value)) else {
                    continue;
                };
                if protocol == "sockets" {
                    let help = "Number of IPv4 sockets in use.";
                    ctx.out.single("node_sockstat_sockets_used", help, Gauge, value);
                    continue;
                }
                let mut write = |key: &str, value: f64| {
                    let name = format!("node_sockstat_{protocol}_{key}");
                    let help = format!("Number of {protocol} sockets in state {key}.");
                    ctx.out.single(&name, &help, Gauge, value);
                };
                write(&key, value);
                if key == "mem" {
                    write("mem_bytes", value * page_size);
                }
            }
        }
    }
    Ok(())
}

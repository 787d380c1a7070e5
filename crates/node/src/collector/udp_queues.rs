//! `PROC/net/udp` and `udp6`: bytes waiting in the queues of all UDP sockets.

use cupola_exposition::MetricType::Gauge;

use crate::error::{CollectError, Collected};
use crate::parse::{hex, lines, words};
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let mut found = Vec::new();
    for (path, ip) in [("net/udp", "v4"), ("net/udp6", "v6")] {
        let table = match ctx.files.proc(path) {
            Ok(table) => table,
            Err(error) if error.is_absent() => continue,
            Err(error) => return Err(error),
        };
        let mut sums = [0_u64; 2];
        for line in lines(table).skip(1) {
            // The fifth column: `tx_queue:rx_queue`.
            let queues = words(line).nth(4).unwrap_or(&[]);
            for (sum, queue) in sums.iter_mut().zip(queues.split(|b| *b == b':').map(hex)) {
                let queue = queue.ok_or_else(|| CollectError::parse(path, "expected tx_queue:rx_queue"))?;
                *sum = sum.saturating_add(queue);
            }
        }
        found.push((ip, sums));
    }
    if found.is_empty() {
        return Err(CollectError::NoData("net/udp".to_owned()));
    }
    ctx.out.family(
        "node_udp_queues",
        "Number of allocated memory in the kernel for UDP datagrams in bytes.",
        Gauge,
    );
    for (ip, sums) in found {
        for (queue, sum) in ["tx", "rx"].into_iter().zip(sums) {
            ctx.out.sample(&[("ip", ip), ("queue", queue)], sum as f64);
        }
    }
    Ok(())
}

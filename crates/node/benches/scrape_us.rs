//! What one scrape of this machine costs in CPU time, and which collectors it goes to: `cargo bench -p cupola-node`.
//!
//! Nearly all of it is the kernel's, so it depends on the machine: above all on its network devices and CPUs.

use cupola_exposition::{Entry, Format, Parser, Writer};
use cupola_node::{Collectors, NodeOptions};
use rustix::time::{ClockId, clock_gettime};

const SCRAPES: u32 = 300;

fn cpu_us() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

fn main() {
    let collectors = Collectors::new(NodeOptions::default()).expect("the defaults are valid");
    let mut buf = Vec::new();
    let begin = cpu_us();
    for _ in 0..SCRAPES {
        buf.clear();
        let mut out = Writer::with_buffer(std::mem::take(&mut buf));
        collectors.collect(&mut out);
        buf = out.finish();
    }
    let each = (cpu_us() - begin) / f64::from(SCRAPES);
    let (mut series, mut durations) = (0, Vec::new());
    for entry in Parser::new(Format::Text, &buf).flatten() {
        let Entry::Sample(sample) = entry else { continue };
        series += 1;
        let labels = sample.series.labels();
        if labels.metric_name() == "node_scrape_collector_duration_seconds" {
            durations.push((sample.value * 1e6, labels.value("collector").to_owned()));
        }
    }
    println!("{each:.0} us of CPU a scrape, {series} series, {} bytes", buf.len());
    durations.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (us, collector) in durations.iter().take(8) {
        println!("{us:>8.0} us  {collector}");
    }
}

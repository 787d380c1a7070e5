//! The collectors against node_exporter's fixtures and this very machine.

mod compare;
mod conformance;
mod live;
mod machine;

use cupola_exposition::Writer;

use crate::{Collectors, NodeOptions};

fn scrape(options: NodeOptions) -> String {
    let collectors = Collectors::new(options).unwrap();
    let mut out = Writer::new();
    collectors.collect(&mut out);
    String::from_utf8(out.finish()).unwrap()
}

//! `PROC/net/netstat`, `snmp` and `snmp6`: the protocols' counters, as far as `collector.netstat.fields` lets them
//! through.

use cupola_exposition::{MetricType, Writer};

use crate::error::{CollectError, Collected};
use crate::options::Fields;
use crate::parse::{float, lines, text, words};
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let fields = &ctx.settings.netstat_fields;
    let mut metric = Metric {
        fields,
        key: String::new(),
        text: String::new(),
    };
    for path in ["net/netstat", "net/snmp"] {
        // Pairs of lines: the names, and below them the values.
        let table = ctx.files.proc(path)?;
        let mut rows = lines(table);
        while let (Some(names), Some(values)) = (rows.next(), rows.next()) {
            let mut names = words(names);
            let mut values = words(values);
            let (protocol, same) = (names.next(), values.next());
            let Some(protocol) = protocol.filter(|_| protocol == same).and_then(|p| p.strip_suffix(b":")) else {
                return Err(CollectError::parse(
                    path,
                    "expected a line of values below each line of names",
                ));
            };
            let protocol = text(protocol);
            for (name, value) in names.zip(values) {
                metric.write(ctx.out, &protocol, &text(name), float(value));
            }
        }
    }
    // Absent where the kernel has no IPv6.
    let table = match ctx.files.proc("net/snmp6") {
        Ok(table) => table,
        Err(error) if error.is_absent() => return Ok(()),
        Err(error) => return Err(error),
    };
    for line in lines(table) {
        let mut words = words(line);
        let (Some(key), Some(value)) = (words.next(), words.next()) else {
            continue;
        };
        let key = text(key);
        // `Udp6InDatagrams`: the protocol ends at its 6.
        if let Some((protocol, name)) = key.find('6').and_then(|six| key.split_at_checked(six + 1)) {
            metric.write(ctx.out, protocol, name, float(value));
        }
    }
    Ok(())
}

struct Metric<'a> {
    fields: &'a Fields,
    key: String,
    text: String,
}

impl Metric<'_> {
    fn write(&mut self, out: &mut Writer, protocol: &str, name: &str, value: Option<f64>) {
        self.key.clear();
        self.key.push_str("node_netstat_");
        let prefix = self.key.len();
        self.key.push_str(protocol);
        self.key.push('_');
        self.key.push_str(name);
        let field = self.key.get(prefix..).unwrap_or("");
        let (true, Some(value)) = (self.fields.is_shown(field), value) else {
            return;
        };
        self.text.clear();
        for part in ["Statistic ", protocol, name, "."] {
            self.text.push_str(part);
        }
        out.single(&self.key, &self.text, MetricType::Unknown, value);
    }
}

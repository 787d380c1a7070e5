//! From `Accept` to the format of an answer.

use crate::Format;

/// The `Content-Type` of what [`crate::protobuf::FamilyWriter`] writes.
pub const PROTOBUF_CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The format of an exposition for who sent `accept`: protobuf where the delimited messages weigh more than the text
/// format, else text. So does the handler that Prometheus and Alertmanager have from the Go client; it offers no
/// OpenMetrics, in which bounds of buckets are spelled otherwise, and neither is it given here.
#[must_use]
pub fn accepted(accept: &str) -> Format {
    let mut best = (0.0, Format::Text);
    for clause in accept.split(',') {
        let mut parts = clause.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or("");
        let (mut weight, mut proto, mut encoding, mut version) = (1.0, "", "", "");
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                "q" => weight = value.parse().unwrap_or(1.0),
                "proto" => proto = value,
                "encoding" => encoding = value,
                "version" => version = value,
                _ => {}
            }
        }
        let format = match media_type {
            "application/vnd.google.protobuf"
                if proto == "io.prometheus.client.MetricFamily" && encoding == "delimited" =>
            {
                Format::Protobuf
            }
            "text/plain" if matches!(version, "" | "0.0.4" | "1.0.0") => Format::Text,
            _ => continue,
        };
        if weight > best.0 {
            best = (weight, format);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ScrapeProtocol, accept_header};

    #[test]
    fn protobuf_is_given_to_who_likes_it_best() {
        let proto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, format) in [
            (String::new(), Format::Text),
            ("*/*".to_owned(), Format::Text),
            (
                format!("{proto};q=0.7,text/plain;version=0.0.4;q=0.3"),
                Format::Protobuf,
            ),
            (format!("text/plain;version=0.0.4;q=0.8 , {proto};q=0.7"), Format::Text),
            (format!("text/plain;version=0.0.3, {proto};q=0.7"), Format::Protobuf),
            (format!("{proto};q=0,text/plain;q=0.1"), Format::Text),
            (proto.replace("delimited", "text"), Format::Text),
            ("application/vnd.google.protobuf".to_owned(), Format::Text),
            ("application/openmetrics-text;version=1.0.0".to_owned(), Format::Text),
            (";;,=,q=x;=;".to_owned(), Format::Text),
        ] {
            assert_eq!(accepted(&accept), format, "{accept}");
        }
        let first = [ScrapeProtocol::PrometheusProto, ScrapeProtocol::OpenMetricsText1_0_0];
        assert_eq!(accepted(&accept_header(&first, "allow-utf-8")), Format::Protobuf);
        let usual = accept_header(&ScrapeProtocol::DEFAULT, "allow-utf-8");
        assert_eq!(accepted(&usual), Format::Text);
    }
}

//! The names of the formats: in a configuration, in `Accept` and in `Content-Type`.

/// What a body is parsed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The Prometheus text format, any version.
    Text,
    /// OpenMetrics, any version.
    OpenMetrics,
    /// Delimited protobuf messages, which [`crate::protobuf::decode`] turns into OpenMetrics first.
    Protobuf,
}

/// A format and version a scrape may ask for, as `scrape_protocols` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScrapeProtocol {
    /// `PrometheusProto`.
    PrometheusProto,
    /// `PrometheusText0.0.4`.
    PrometheusText0_0_4,
    /// `PrometheusText1.0.0`.
    PrometheusText1_0_0,
    /// `OpenMetricsText0.0.1`.
    OpenMetricsText0_0_1,
    /// `OpenMetricsText1.0.0`.
    OpenMetricsText1_0_0,
}

impl ScrapeProtocol {
    /// What Prometheus asks for by default, the best first.
    pub const DEFAULT: [Self; 4] = [
        Self::OpenMetricsText1_0_0,
        Self::OpenMetricsText0_0_1,
        Self::PrometheusText1_0_0,
        Self::PrometheusText0_0_4,
    ];

    /// The protocol that a configuration calls `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::PrometheusProto].into_iter().chain(Self::DEFAULT);
        all.into_iter().find(|protocol| protocol.name() == name)
    }

    /// The name in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PrometheusProto => "PrometheusProto",
            Self::PrometheusText0_0_4 => "PrometheusText0.0.4",
            Self::PrometheusText1_0_0 => "PrometheusText1.0.0",
            Self::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            Self::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
        }
    }

    /// The media type without parameters.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::PrometheusProto => "application/vnd.google.protobuf",
            Self::PrometheusText0_0_4 | Self::PrometheusText1_0_0 => "text/plain",
            Self::OpenMetricsText0_0_1 | Self::OpenMetricsText1_0_0 => "application/openmetrics-text",
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Self::PrometheusText0_0_4 => "text/plain;version=0.0.4",
            Self::PrometheusText1_0_0 => "text/plain;version=1.0.0",
            Self::OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            Self::OpenMetricsText1_0_0 => "application/openmetrics-text;version=1.0.0",
        }
    }
}

/// The `Accept` header for `protocols`, the best first, as Prometheus sends it.
///
/// `escaping` is the scheme asked for where a format knows one: `allow-utf-8`, `underscores`, `dots` or `values`.
#[must_use]
pub fn accept_header(protocols: &[ScrapeProtocol], escaping: &str) -> String {
    let mut out = String::new();
    // Prometheus starts at 0.6, from when there were five protocols and a wildcard.
    let mut weight = protocols.len().max(6);
    for protocol in protocols {
        out.push_str(protocol.header());
        if matches!(
            protocol,
            ScrapeProtocol::PrometheusText1_0_0 | ScrapeProtocol::OpenMetricsText1_0_0
        ) {
            out.push_str(";escaping=");
            out.push_str(escaping);
        }
        out.push_str(&format!(";q=0.{weight},"));
        weight = weight.saturating_sub(1);
    }
    out.push_str(&format!("*/*;q=0.{weight}"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_what_prometheus_sends() {
        assert_eq!(
            accept_header(&ScrapeProtocol::DEFAULT, "allow-utf-8"),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
    }

    #[test]
    fn names_are_read_back() {
        for protocol in ScrapeProtocol::DEFAULT
            .into_iter()
            .chain([ScrapeProtocol::PrometheusProto])
        {
            assert_eq!(ScrapeProtocol::from_name(protocol.name()), Some(protocol));
        }
        assert_eq!(ScrapeProtocol::from_name("text"), None);
    }
}

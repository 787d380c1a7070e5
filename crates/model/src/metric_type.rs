//! What kind of metric a family is.

/// The kind of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum MetricType {
    /// Only ever goes up, but for restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Buckets of something that also goes down (OpenMetrics only).
    GaugeHistogram,
    /// Quantiles, sum and count.
    Summary,
    /// Constant 1 with labels that tell something (OpenMetrics only).
    Info,
    /// One series per state, one of them 1 (OpenMetrics only).
    StateSet,
    /// Not told; `untyped` in the text format, `unknown` in OpenMetrics.
    #[default]
    Unknown,
}

impl MetricType {
    /// The word of the text format, `untyped` for what it has no word for.
    #[must_use]
    pub fn text_name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::GaugeHistogram | Self::Info | Self::StateSet | Self::Unknown => "untyped",
        }
    }

    /// The word of OpenMetrics and of Prometheus's metadata API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::Unknown => "unknown",
        }
    }

    /// What a word of the text format stands for.
    #[must_use]
    pub fn from_text(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"counter" => Self::Counter,
            b"gauge" => Self::Gauge,
            b"histogram" => Self::Histogram,
            b"summary" => Self::Summary,
            b"untyped" => Self::Unknown,
            _ => return None,
        })
    }

    /// What a word of OpenMetrics stands for.
    #[must_use]
    pub fn from_openmetrics(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"gaugehistogram" => Self::GaugeHistogram,
            b"info" => Self::Info,
            b"stateset" => Self::StateSet,
            b"unknown" => Self::Unknown,
            b"untyped" => return None,
            word => return Self::from_text(word),
        })
    }

    /// Its number in messages of remote write 1.0 (`prometheus.MetricMetadata`) and in Prometheus's log.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Counter => 1,
            Self::Gauge => 2,
            Self::Histogram => 3,
            Self::GaugeHistogram => 4,
            Self::Summary => 5,
            Self::Info => 6,
            Self::StateSet => 7,
        }
    }

    /// What such a number stands for; [`MetricType::Unknown`] where it is none.
    #[must_use]
    pub fn of_number(number: u64) -> Self {
        const ALL: [MetricType; 8] = [
            MetricType::Unknown,
            MetricType::Counter,
            MetricType::Gauge,
            MetricType::Histogram,
            MetricType::GaugeHistogram,
            MetricType::Summary,
            MetricType::Info,
            MetricType::StateSet,
        ];
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        ALL.get(at).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_from_its_number_and_its_word() {
        for number in 0..8 {
            let kind = MetricType::of_number(number);
            assert_eq!(u64::from(kind.number()), number);
            assert_eq!(MetricType::from_openmetrics(kind.name().as_bytes()), Some(kind));
        }
        assert_eq!(MetricType::of_number(8), MetricType::Unknown);
    }
}

//! Classic histograms as native ones with custom buckets (NHCB), while they are read: `convert_classic_histograms_to_nhcb`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use cupola_histogram::{FloatHistogram, Histogram, NativeHistogram};
use cupola_model::{Labels, METRIC_NAME, MetricType};

use crate::protobuf::{Decoded, Native, braces, series};
use crate::{Entry, Exemplar, Format, LabelPairs, ParseError, Parser, SampleEntry};

// Above it whole numbers have gaps as floats.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// Takes the classic histograms out of `text` and puts native ones beside it. As upstream's parser does it: only what
/// `# TYPE` calls a histogram, in series named like it; exemplars without a time are left out, and so is a histogram whose
/// buckets contradict each other.
///
/// With `keeps_classic` the classic series stay as well. `native` holds native histograms that the target sent itself;
/// where one has the labels of a classic one, it stands for it. A histogram counts since what `native` says of its first
/// line, or the `_created` line behind it, which stays.
///
/// # Errors
/// [`ParseError`] where the text is not in `format`.
pub fn convert(
    format: Format,
    text: &[u8],
    keeps_classic: bool,
    native: Option<Decoded>,
) -> Result<Decoded, ParseError> {
    let mut out = native.unwrap_or_default();
    let taken: HashSet<Labels> = out.natives().map(|entry| entry.series.labels()).collect();
    let mut rest = Vec::with_capacity(text.len() / 2);
    let mut family = Family {
        reads_created: format == Format::OpenMetrics,
        ..Family::default()
    };
    let mut starts = std::mem::take(&mut out.starts).into_iter().peekable();
    // Samples of the text, and of what becomes of it.
    let (mut read, mut kept) = (0, 0);
    let mut parser = Parser::new(format, text);
    loop {
        let from = parser.cursor().at;
        let Some(entry) = parser.next() else { break };
        let entry = entry?;
        let is_classic = match &entry {
            Entry::Sample(sample) => {
                let start = starts.next_if(|(at, _)| *at == read).map(|(_, start)| start);
                read += 1;
                let is_classic = family.takes(sample, start);
                if !is_classic || keeps_classic {
                    out.starts.extend(start.map(|start| (kept, start)));
                    kept += 1;
                }
                is_classic
            }
            Entry::Type { name, kind } => {
                family.finish(&taken, &mut out);
                family.name = (*kind == MetricType::Histogram).then(|| name.to_string());
                false
            }
            _ => false,
        };
        if !is_classic || keeps_classic {
            let to = parser.cursor().at.min(text.len());
            rest.extend_from_slice(text.get(from..to).unwrap_or(&[]));
            if !rest.ends_with(b"\n") {
                rest.push(b'\n');
            }
        }
    }
    family.finish(&taken, &mut out);
    if format != Format::Text {
        rest.extend_from_slice(b"# EOF\n");
    }
    out.text = rest;
    Ok(out)
}

/// The histograms of one family, in the order of their first series.
#[derive(Default)]
struct Family<'a> {
    // `None` where the family is no histogram.
    name: Option<String>,
    // Whether a start is told by a line.
    reads_created: bool,
    all: Vec<Classic<'a>>,
    // By the labels without `le`, name and value in turn.
    by_labels: HashMap<Vec<Cow<'a, str>>, usize>,
}

#[derive(Default)]
struct Classic<'a> {
    labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    bounds: Vec<f64>,
    cumulative: Vec<f64>,
    count: Option<f64>,
    sum: Option<f64>,
    timestamp_ms: Option<i64>,
    start_ms: Option<i64>,
    exemplars: Vec<Exemplar<'a>>,
}

impl<'a> Family<'a> {
    // Whether the sample, which counts since `start`, is part of a histogram.
    fn takes(&mut self, sample: &SampleEntry<'a>, start: Option<i64>) -> bool {
        let Some(family) = &self.name else { return false };
        let mut labels = LabelPairs::new();
        sample.series.labels_into(false, &mut labels);
        let Some((_, name)) = labels.iter().find(|(name, _)| name == METRIC_NAME) else {
            return false;
        };
        let Some(suffix) = name.strip_prefix(family.as_str()) else {
            return false;
        };
        let part = match suffix {
            "_bucket" => {
                let bound = labels.iter().find(|(name, _)| name == "le");
                let Some(bound) = bound.and_then(|(_, value)| cupola_model::parse_f64(value)) else {
                    return false;
                };
                if bound.is_nan() {
                    return false;
                }
                Part::Bucket(bound)
            }
            "_count" => Part::Count,
            "_sum" => Part::Sum,
            "_created" if self.reads_created => Part::Created,
            _ => return false,
        };
        labels.retain(|(name, _)| name != METRIC_NAME && (!matches!(part, Part::Bucket(_)) || name != "le"));
        let key: Vec<_> = labels
            .iter()
            .flat_map(|(name, value)| [name.clone(), value.clone()])
            .collect();
        if matches!(part, Part::Created) {
            let classic = self.by_labels.get(&key).and_then(|at| self.all.get_mut(*at));
            if let Some(classic) = classic.filter(|_| sample.value.is_finite()) {
                classic.start_ms = classic.start_ms.or(Some((sample.value * 1000.0) as i64));
            }
            return false;
        }
        let at = *self.by_labels.entry(key).or_insert_with(|| {
            self.all.push(Classic {
                labels,
                ..Classic::default()
            });
            self.all.len() - 1
        });
        let Some(classic) = self.all.get_mut(at) else {
            return false;
        };
        match part {
            Part::Bucket(bound) => {
                classic.bounds.push(bound);
                classic.cumulative.push(sample.value);
            }
            Part::Count => classic.count = Some(sample.value),
            Part::Sum => classic.sum = Some(sample.value),
            // Seen above.
            Part::Created => {}
        }
        classic.start_ms = classic.start_ms.or(start);
        classic.timestamp_ms = classic.timestamp_ms.or(sample.timestamp_ms);
        classic.exemplars.extend(sample.exemplar);
        true
    }

    fn finish(&mut self, taken: &HashSet<Labels>, out: &mut Decoded) {
        self.by_labels.clear();
        let Some(name) = self.name.take() else { return };
        for classic in self.all.drain(..) {
            let Some(histogram) = classic.histogram() else { continue };
            let pairs: Vec<(&str, &str)> = classic.labels.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
            if !taken.is_empty() {
                let named = pairs.iter().copied().chain([(METRIC_NAME, name.as_str())]);
                if taken.contains(&Labels::from_pairs(named)) {
                    continue;
                }
            }
            let from = out.names.len();
            series(&mut out.names, &name, "", &pairs, None);
            let own_series = from..out.names.len();
            let mut exemplars = Vec::new();
            for exemplar in &classic.exemplars {
                let Some(ts) = exemplar.timestamp_ms else { continue };
                let mut labels = LabelPairs::new();
                exemplar.labels_into(&mut labels);
                let pairs: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
                let from = out.names.len();
                braces(&mut out.names, &pairs);
                exemplars.push((from..out.names.len(), exemplar.value, ts));
            }
            out.natives.push(Native {
                series: own_series,
                kind: MetricType::Histogram,
                histogram,
                timestamp_ms: classic.timestamp_ms,
                start_ms: classic.start_ms,
                exemplars,
            });
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Bucket(f64),
    Count,
    Sum,
    Created,
}

impl Classic<'_> {
    // `None` where it contradicts itself.
    fn histogram(&self) -> Option<NativeHistogram> {
        let float = FloatHistogram::from_classic(&self.bounds, &self.cumulative, self.count, self.sum);
        let histogram = match whole(&float) {
            Some(integer) => NativeHistogram::Integer(integer),
            None => NativeHistogram::Float(float),
        };
        histogram.validate().is_ok().then_some(histogram)
    }
}

// The same with whole numbers, where they are.
fn whole(float: &FloatHistogram) -> Option<Histogram> {
    let is_whole = |n: &f64| (0.0..=MOST_EXACT).contains(n) && n.fract() == 0.0;
    if !is_whole(&float.count) || !float.positive_buckets.iter().all(is_whole) {
        return None;
    }
    let mut before = 0;
    let deltas = float.positive_buckets.iter().map(|count| {
        let count = *count as i64;
        count - std::mem::replace(&mut before, count)
    });
    let positive_buckets = deltas.collect();
    Some(Histogram {
        schema: float.schema,
        count: float.count as u64,
        sum: float.sum,
        positive_spans: float.positive_spans.clone(),
        positive_buckets,
        custom_values: float.custom_values.clone(),
        ..Histogram::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(decoded: &Decoded) -> Vec<String> {
        let show = |entry: crate::protobuf::NativeEntry<'_>| {
            let kind = match entry.histogram {
                NativeHistogram::Integer(_) => "integer",
                NativeHistogram::Float(_) => "float",
            };
            let exemplars = entry.exemplars.len();
            let h = entry.histogram.to_float();
            format!(
                "{} {kind} count {} sum {} bounds {:?} buckets {:?} exemplars {exemplars}",
                entry.series.labels(),
                h.count,
                h.sum,
                h.custom_values,
                h.positive_buckets,
            )
        };
        decoded.natives().map(show).collect()
    }

    const LATENCY: &str = "# HELP lat x\n# TYPE lat histogram\nlat_bucket{path=\"/\",le=\"0.5\"} 1\nlat_bucket{path=\"/\",le=\"1\"} 3\n\
        lat_bucket{path=\"/\",le=\"+Inf\"} 4\nlat_sum{path=\"/\"} 2.5\nlat_count{path=\"/\"} 4\nother 1\n";

    #[test]
    fn a_classic_histogram_becomes_one_series() {
        let decoded = convert(Format::Text, LATENCY.as_bytes(), false, None).unwrap();
        assert_eq!(
            shown(&decoded),
            [
                r#"{__name__="lat", path="/"} integer count 4 sum 2.5 bounds [0.5, 1.0] buckets [1.0, 2.0, 1.0] exemplars 0"#
            ]
        );
        let rest = std::str::from_utf8(decoded.text()).unwrap();
        assert_eq!(rest, "# HELP lat x\n# TYPE lat histogram\nother 1\n");
        let kept = convert(Format::Text, LATENCY.as_bytes(), true, None).unwrap();
        assert_eq!((kept.text(), kept.natives().count()), (LATENCY.as_bytes(), 1));
    }

    #[test]
    fn series_are_told_apart_by_their_labels_also_where_they_alternate() {
        let text = "# TYPE h histogram\nh_bucket{le=\"1\",a=\"1\"} 1\nh_bucket{le=\"1\",a=\"2\"} 2\nh_bucket{le=\"+Inf\",a=\"1\"} 1.5\n\
            h_count{a=\"2\"} 2\n# EOF\n";
        let decoded = convert(Format::OpenMetrics, text.as_bytes(), false, None).unwrap();
        assert_eq!(
            shown(&decoded),
            [
                r#"{__name__="h", a="1"} float count 1.5 sum 0 bounds [1.0] buckets [1.0, 0.5] exemplars 0"#,
                r#"{__name__="h", a="2"} integer count 2 sum 0 bounds [1.0] buckets [2.0] exemplars 0"#,
            ]
        );
        assert_eq!(decoded.text(), b"# TYPE h histogram\n# EOF\n");
    }

    #[test]
    fn what_is_no_whole_histogram_stays_as_it_is() {
        for text in [
            // No type, another type, no bound, another name.
            "h_bucket{le=\"1\"} 1\nh_count 1\n",
            "# TYPE h counter\nh_bucket{le=\"1\"} 1\n",
            "# TYPE h histogram\nh_bucket 1\nh_bucket{le=\"x\"} 1\nh_bucket{le=\"NaN\"} 1\n",
            "# TYPE h histogram\nh2_bucket{le=\"1\"} 1\nh 1\nh_created 3\n",
        ] {
            let decoded = convert(Format::Text, text.as_bytes(), false, None).unwrap();
            assert_eq!(
                (decoded.text(), decoded.natives().count()),
                (text.as_bytes(), 0),
                "{text}"
            );
        }
        // Buckets that shrink are lost.
        let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 3\nh_count 5\n";
        let decoded = convert(Format::Text, text.as_bytes(), false, None).unwrap();
        assert_eq!(
            (decoded.text(), decoded.natives().count()),
            (&b"# TYPE h histogram\n"[..], 0)
        );
    }

    #[test]
    fn exemplars_with_a_time_come_along() {
        let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 1 # {t=\"a\"} 0.5 1.5\nh_bucket{le=\"+Inf\"} 2 # {t=\"b\"} 3\n# EOF\n";
        let decoded = convert(Format::OpenMetrics, text.as_bytes(), false, None).unwrap();
        let native = decoded.natives().next().unwrap();
        let exemplars: Vec<_> = (native.exemplars.iter())
            .map(|e| (e.labels().get("t").map(str::to_owned), e.value, e.timestamp_ms))
            .collect();
        assert_eq!(exemplars, [(Some("a".to_owned()), 0.5, Some(1500))]);
    }

    #[test]
    fn starts_come_along_by_their_line_or_their_number() {
        let text = "# TYPE c counter\nc_total 1\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_created 1.5\n\
            # TYPE d counter\nd_total 3\n# EOF\n";
        let starts = |format, keeps_classic, told: &[(usize, i64)]| {
            let native = Decoded {
                starts: told.to_vec(),
                ..Decoded::default()
            };
            let decoded = convert(format, text.as_bytes(), keeps_classic, Some(native)).unwrap();
            let native = decoded.natives().next().and_then(|native| native.start_ms);
            (decoded.starts().to_vec(), native)
        };
        assert_eq!(starts(Format::OpenMetrics, false, &[]), (vec![], Some(1500)));
        // Of protobuf, where a line of that name is nothing special.
        let told = [(0, 10), (1, 20), (2, 20), (4, 30)];
        assert_eq!(
            starts(Format::Protobuf, false, &told),
            (vec![(0, 10), (2, 30)], Some(20))
        );
        assert_eq!(starts(Format::Protobuf, true, &told), (told.to_vec(), Some(20)));
        assert_eq!(starts(Format::Protobuf, false, &[]), (vec![], None));
    }

    #[test]
    fn no_bytes_panic_and_the_rest_is_still_in_its_format() {
        cupola_testkit::fuzz(
            5_000,
            &[LATENCY.as_bytes().to_vec()],
            &["_bucket", "le=\"", "\n"],
            |input| {
                for format in [Format::Text, Format::OpenMetrics] {
                    let Ok(decoded) = convert(format, input, false, None) else {
                        continue;
                    };
                    assert!(Parser::new(format, decoded.text()).all(|entry| entry.is_ok()));
                    for native in decoded.natives() {
                        assert!(!native.series.labels().is_empty());
                    }
                }
            },
        );
    }
}

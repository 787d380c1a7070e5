use super::*;
use proptest::prelude::*;

#[derive(Debug, PartialEq)]
enum Decoded {
    Series(u64, Labels),
    Sample(LoggedSample),
    Histogram(LoggedHistogram),
    Exemplar(LoggedExemplar),
    Metadata(String, Metadata),
    Start(LoggedStart),
    Starts(LoggedStarts),
    Late(LoggedSample),
    LateHistogram(LoggedHistogram),
    Chunk(LoggedChunk),
    Deletion(LoggedDeletion),
}

fn decoded(codec: &mut Codec, record: &[u8]) -> Result<Vec<Decoded>, CodecError> {
    let mut all = Vec::new();
    codec.decode(record, &mut |entry| match entry {
        Entry::Series(id, labels) => all.push(Decoded::Series(id, labels)),
        Entry::SeriesTable(table) => all.extend(table.iter().map(|(id, places)| {
            let labels = places.iter().map(|place| table.pair(*place).unwrap());
            Decoded::Series(id, Labels::from_pairs(labels))
        })),
        Entry::Samples(samples) => all.extend(samples.into_iter().map(Decoded::Sample)),
        Entry::Histograms(histograms) => all.extend(histograms.into_iter().map(Decoded::Histogram)),
        Entry::Exemplars(exemplars) => all.extend(exemplars.into_iter().map(Decoded::Exemplar)),
        Entry::Metadata(said) => all.extend(said.into_iter().map(|(m, metadata)| Decoded::Metadata(m, metadata))),
        Entry::Start(starts) => all.extend(starts.into_iter().map(Decoded::Start)),
        Entry::Starts(starts) => all.push(Decoded::Starts(starts)),
        Entry::LateSamples(samples) => all.extend(samples.into_iter().map(Decoded::Late)),
        Entry::LateHistograms(late) => all.extend(late.into_iter().map(Decoded::LateHistogram)),
        Entry::Chunk(chunk) => all.push(Decoded::Chunk(chunk)),
        Entry::Deletion(deletion) => all.push(Decoded::Deletion(deletion)),
    })?;
    Ok(all)
}

proptest! {
    #[test]
    fn samples_come_back_bit_for_bit(
        samples in proptest::collection::vec((any::<u64>(), any::<i64>(), any::<u64>()), 0..200),
    ) {
        let samples: Vec<_> = samples
            .into_iter()
            .map(|(series, ts, bits)| LoggedSample { series: series % 20, ts, value: f64::from_bits(bits) })
            .collect();
        let (mut writer, mut reader) = (Codec::default(), Codec::default());
        for batch in samples.chunks(7) {
            let mut record = Vec::new();
            writer.encode_samples(&mut record, batch);
            let back = decoded(&mut reader, &record).unwrap();
            prop_assert_eq!(back.len(), batch.len());
            for (entry, sample) in back.into_iter().zip(batch) {
                let Decoded::Sample(got) = entry else { panic!("not a sample") };
                prop_assert_eq!((got.series, got.ts), (sample.series, sample.ts));
                prop_assert_eq!(got.value.to_bits(), sample.value.to_bits());
            }
        }
    }
}

#[test]
fn metadata_comes_back() {
    let said = |kind, text: &str| Metadata {
        kind,
        help: format!("{text} is"),
        unit: text.to_owned(),
    };
    let all = vec![
        ("a".to_owned(), said(MetricType::Info, "")),
        ("b".to_owned(), said(MetricType::Counter, "\u{fc}")),
    ];
    let mut record = Vec::new();
    Codec::encode_metadata(&mut record, &all);
    let back = decoded(&mut Codec::default(), &record).unwrap();
    let expected = all
        .into_iter()
        .map(|(metric, metadata)| Decoded::Metadata(metric, metadata));
    assert_eq!(back, expected.collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn starts_come_back(
        batches in proptest::collection::vec(
            proptest::collection::vec((0..4_u64, 0..50_i64, 0..3_i64, any::<bool>()), 0..20),
            0..5,
        ),
        steps in proptest::collection::btree_map(any::<i64>(), 1..i64::MAX, 1..5),
        is_late in any::<bool>(),
    ) {
        let (mut writer, mut reader) = (Codec::default(), Codec::default());
        for mut batch in batches {
            // A sample has one start.
            batch.sort_by_key(|sample| (sample.1, sample.0));
            batch.dedup_by_key(|sample| (sample.1, sample.0));
            let told = batch.iter().filter(|told| told.2 > 0).map(|told| ((told.0, told.1), told.2));
            let told: ToldStarts = told.collect();
            let samples = batch.iter().map(|(series, ts, _, is_stale)| LoggedSample {
                series: *series,
                ts: *ts,
                value: if *is_stale { cupola_model::STALE_NAN } else { 1.0 },
            });
            let samples: Vec<LoggedSample> = samples.collect();
            let mut record = Vec::new();
            writer.encode_starts(&mut record, &[Part::Samples(&samples)], &told);
            writer.encode_samples(&mut record, &samples);
            let back = decoded(&mut reader, &record).unwrap();
            let starts = back.iter().filter_map(|entry| match entry {
                Decoded::Start(told) => Some(((told.series, told.ts), told.start)),
                _ => None,
            });
            let starts: ToldStarts = starts.collect();
            for sample in samples.iter().filter(|sample| !is_stale_nan(sample.value)) {
                let key = (sample.series, sample.ts);
                prop_assert_eq!(starts.get(&key).copied().unwrap_or(0), told.get(&key).copied().unwrap_or(0));
            }
        }
        let starts = LoggedStarts { series: 9, is_late, starts: Starts::of(steps) };
        let mut record = Vec::new();
        Codec::encode_steps(&mut record, &starts);
        prop_assert_eq!(decoded(&mut reader, &record).unwrap(), vec![Decoded::Starts(starts)]);
    }
}

fn histogram() -> impl Strategy<Value = NativeHistogram> {
    let spans = || proptest::collection::vec((any::<i32>(), 0..4_u32), 0..3);
    let words = proptest::collection::vec(any::<u64>(), 24);
    let layout = (
        spans(),
        spans(),
        any::<u64>(),
        proptest::collection::vec(any::<f64>(), 0..3),
    );
    (any::<bool>(), 0..4_usize, -53..9_i32, layout, words).prop_map(|(is_float, hint, schema, layout, words)| {
        use cupola_histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
        let (positive, negative, threshold, bounds) = layout;
        let spans = |list: Vec<(i32, u32)>| -> Vec<Span> {
            list.into_iter()
                .map(|(offset, length)| Span { offset, length })
                .collect()
        };
        let count = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
        let (positive_spans, negative_spans) = (spans(positive), spans(negative));
        let (positives, negatives) = (count(&positive_spans), count(&negative_spans));
        let counter_reset_hint = [
            CounterResetHint::Unknown,
            CounterResetHint::CounterReset,
            CounterResetHint::NotCounterReset,
            CounterResetHint::Gauge,
        ][hint];
        let zero_threshold = f64::from_bits(threshold);
        let custom_values = if schema == -53 { bounds.into() } else { [].into() };
        let (head, rest) = words.split_at(3);
        let (positive, rest) = rest.split_at(positives);
        let negative = &rest[..negatives];
        if is_float {
            let floats = |words: &[u64]| words.iter().map(|word| f64::from_bits(*word)).collect();
            return NativeHistogram::Float(FloatHistogram {
                counter_reset_hint,
                schema,
                zero_threshold,
                zero_count: f64::from_bits(head[0]),
                count: f64::from_bits(head[1]),
                sum: f64::from_bits(head[2]),
                positive_buckets: floats(positive),
                negative_buckets: floats(negative),
                positive_spans,
                negative_spans,
                custom_values,
            });
        }
        let integers = |words: &[u64]| words.iter().map(|word| *word as i64).collect();
        NativeHistogram::Integer(Histogram {
            counter_reset_hint,
            schema,
            zero_threshold,
            zero_count: head[0],
            count: head[1],
            sum: f64::from_bits(head[2]),
            positive_buckets: integers(positive),
            negative_buckets: integers(negative),
            positive_spans,
            negative_spans,
            custom_values,
        })
    })
}

// With NaN told by its bits, which `Debug` does not do: through the words of a second encoding.
fn bits(histogram: &LoggedHistogram) -> Vec<u8> {
    let mut out = Vec::new();
    Codec::default().encode_histograms(&mut out, std::slice::from_ref(histogram));
    out
}

proptest! {
    #[test]
    fn histograms_come_back_bit_for_bit(
        all in proptest::collection::vec((0..3_u64, any::<i64>(), histogram(), any::<bool>()), 0..40),
    ) {
        let (mut writer, mut reader) = (Codec::default(), Codec::default());
        // Half of them with the layout of the one before, as a series has it.
        let mut last: Option<NativeHistogram> = None;
        let mut histograms = Vec::new();
        for (series, ts, value, again) in all {
            let value = last.filter(|_| again).unwrap_or(value);
            last = Some(value.clone());
            histograms.push(LoggedHistogram { series, ts, value });
        }
        for batch in histograms.chunks(3) {
            let mut record = Vec::new();
            writer.encode_histograms(&mut record, batch);
            let back = decoded(&mut reader, &record).unwrap();
            prop_assert_eq!(back.len(), batch.len());
            for (entry, histogram) in back.into_iter().zip(batch) {
                let Decoded::Histogram(got) = entry else { panic!("not a histogram") };
                prop_assert_eq!((got.series, got.ts), (histogram.series, histogram.ts));
                prop_assert_eq!(bits(&got), bits(histogram));
            }
        }
    }
}

#[test]
fn series_chunks_and_deletions_come_back() {
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "a")]);
    let mut record = Vec::new();
    Codec::default().encode_series(&mut record, [(7, &labels)].into_iter());
    let histogram = Packing::Prometheus(Encoding::FloatHistogram);
    let xor = Packing::Prometheus(Encoding::Xor);
    let kinds = [
        (xor, false),
        (Packing::Columnar, false),
        (histogram, false),
        (xor, true),
        (Packing::Columnar, true),
    ];
    let chunks = kinds.map(|(packing, is_late)| LoggedChunk {
        series: 7,
        packing,
        mint: -5,
        maxt: 10,
        bytes: b"abc".to_vec(),
        is_late,
    });
    for chunk in &chunks {
        Codec::encode_chunk(&mut record, chunk);
    }
    let deletion = LoggedDeletion {
        series: vec![7, u64::MAX],
        mint: i64::MIN,
        maxt: 5,
    };
    Codec::encode_deletion(&mut record, &deletion);
    let exemplars = [7, 3].map(|series| LoggedExemplar {
        series,
        exemplar: Exemplar {
            labels: Labels::from_pairs([("trace_id", "x")]),
            value: -0.0,
            ts: 4 - series as i64,
        },
    });
    Codec::encode_exemplars(&mut record, &exemplars);
    let sample = |ts| LoggedSample {
        series: 7,
        ts,
        value: 1.5,
    };
    let mut writer = Codec::default();
    writer.encode_samples(&mut record, &[sample(9)]);
    writer.encode_late_samples(&mut record, &[sample(5), sample(6)]);
    let mut expected = vec![Decoded::Series(7, labels)];
    expected.extend(chunks.map(Decoded::Chunk));
    expected.push(Decoded::Deletion(deletion));
    expected.extend(exemplars.map(Decoded::Exemplar));
    expected.push(Decoded::Sample(sample(9)));
    expected.extend([sample(5), sample(6)].map(Decoded::Late));
    assert_eq!(decoded(&mut Codec::default(), &record).unwrap(), expected);
}

#[test]
fn series_of_earlier_versions_are_read() {
    let record = [SERIES, 1, 7, 1, 1, b'a', 1, b'b'];
    let labels = Labels::from_pairs([("a", "b")]);
    assert_eq!(
        decoded(&mut Codec::default(), &record),
        Ok(vec![Decoded::Series(7, labels)])
    );
}

#[test]
fn garbage_never_panics() {
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "a")]);
    let mut record = Vec::new();
    Codec::default().encode_series(&mut record, [(7, &labels)].into_iter());
    Codec::default().encode_samples(
        &mut record,
        &[LoggedSample {
            series: 7,
            ts: 5,
            value: 1.5,
        }],
    );
    Codec::encode_chunk(
        &mut record,
        &LoggedChunk {
            series: 7,
            packing: Packing::Prometheus(Encoding::Xor),
            mint: -5,
            maxt: 10,
            bytes: b"abc".to_vec(),
            is_late: true,
        },
    );
    let labels = Labels::from_pairs([("trace_id", "x")]);
    let exemplar = Exemplar {
        labels,
        value: 1.0,
        ts: 5,
    };
    Codec::encode_exemplars(&mut record, &[LoggedExemplar { series: 7, exemplar }]);
    let value = NativeHistogram::Integer(cupola_histogram::Histogram {
        count: 3,
        positive_spans: vec![cupola_histogram::Span { offset: 1, length: 2 }],
        positive_buckets: vec![1, 1],
        ..cupola_histogram::Histogram::default()
    });
    let histogram = LoggedHistogram {
        series: 7,
        ts: 5,
        value,
    };
    Codec::default().encode_histograms(&mut record, &[histogram.clone(), histogram]);
    let (series, ts) = (7, 5);
    let value = 1.0;
    let sample = LoggedSample { series, ts, value };
    let told = ToldStarts::from_iter([((series, ts), 3)]);
    Codec::default().encode_starts(&mut record, &[Part::Samples(&[sample])], &told);
    Codec::default().encode_samples(&mut record, &[sample]);
    let (is_late, starts) = (true, Starts::of([(5, 3), (9, 8)]));
    Codec::encode_steps(
        &mut record,
        &LoggedStarts {
            series,
            is_late,
            starts,
        },
    );
    cupola_testkit::fuzz(20_000, &[record], &[], |bytes| {
        // Any answer will do; what counts is that there is one.
        let _ = Codec::default().decode(bytes, &mut |_| {});
    });
}

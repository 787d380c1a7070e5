use super::*;
use cupola_engine::QueryTimings;
use expect_test::{Expect, expect};
use std::sync::Arc;
use std::time::Duration;

fn result(value: QueryValue) -> QueryResult {
    QueryResult {
        value,
        warnings: Vec::new(),
        infos: Vec::new(),
        stats: QueryStats::default(),
        memory: Memory::default(),
    }
}

fn written(value: QueryValue, length: usize) -> (String, usize) {
    let mut writer = ResultWriter::new(result(value), None);
    let (mut all, mut longest) = (Vec::new(), 0);
    loop {
        let mut piece = Vec::new();
        let goes_on = writer.write(&mut piece, length);
        longest = longest.max(piece.len());
        all.extend(piece);
        if !goes_on {
            return (String::from_utf8(all).unwrap(), longest);
        }
    }
}

#[track_caller]
fn check(value: &QueryValue, expected: Expect) {
    let (whole, _) = written(value.clone(), usize::MAX);
    let data = whole
        .strip_prefix("{\"status\":\"success\",\"data\":{\"resultType\":\"")
        .unwrap();
    let data = data.strip_prefix(value.type_name()).unwrap();
    let data = data.strip_prefix("\",\"result\":").unwrap().strip_suffix("}}").unwrap();
    expected.assert_eq(data);
    // The same in the shortest pieces.
    let (pieces, longest) = written(value.clone(), 1);
    assert_eq!(pieces, whole);
    assert!(longest < 200, "a piece of {longest} bytes");
}

fn labels() -> Labels {
    Labels::from_pairs([("__name__", "up"), ("job", "a\"b")])
}

fn histogram() -> Arc<FloatHistogram> {
    Arc::new(FloatHistogram {
        count: 3.0,
        sum: 4.5,
        zero_threshold: 0.001,
        zero_count: 1.0,
        positive_spans: vec![cupola_histogram::Span { offset: 0, length: 1 }],
        positive_buckets: vec![2.0],
        ..FloatHistogram::default()
    })
}

#[test]
fn values_are_written_as_prometheus_does() {
    check(&QueryValue::Scalar(1_500, f64::NAN), expect![[r#"[1.5,"NaN"]"#]]);
    check(&QueryValue::String(0, "é\n".into()), expect![[r#"[0,"é\n"]"#]]);
    check(&QueryValue::Vector(vec![]), expect!["[]"]);
    check(&QueryValue::Matrix(vec![]), expect!["[]"]);
    check(
        &QueryValue::Vector(vec![
            (labels(), 1_000, SampleValue::Float(1e21)),
            (Labels::empty(), 1_000, SampleValue::Float(-0.0)),
        ]),
        expect![[r#"[{"metric":{"__name__":"up","job":"a\"b"},"value":[1,"1e+21"]},{"metric":{},"value":[1,"-0"]}]"#]],
    );
    let samples = Samples::floats(vec![1_000, 2_001], vec![1.0, f64::NEG_INFINITY]);
    check(
        &QueryValue::Matrix(vec![(labels(), samples.clone()), (Labels::empty(), samples)]),
        expect![[
            r#"[{"metric":{"__name__":"up","job":"a\"b"},"values":[[1,"1"],[2.001,"-Inf"]]},{"metric":{},"values":[[1,"1"],[2.001,"-Inf"]]}]"#
        ]],
    );
}

#[test]
fn histograms_stand_beside_floats() {
    check(
        &QueryValue::Vector(vec![(Labels::empty(), 1_000, SampleValue::Histogram(histogram()))]),
        expect![[
            r#"[{"metric":{},"histogram":[1,{"count":"3","sum":"4.5","buckets":[[3,"-0.001","0.001","1"],[0,"0.5","1","2"]]}]}]"#
        ]],
    );
    let mut mixed = Samples::floats(vec![1_000], vec![1.0]);
    mixed.histograms.push(2_000, Arc::new(FloatHistogram::default()), 0);
    let mut only = Samples::default();
    only.histograms.push(1_000, Arc::new(FloatHistogram::default()), 0);
    only.histograms.push(2_000, Arc::new(FloatHistogram::default()), 0);
    check(
        &QueryValue::Matrix(vec![(Labels::empty(), mixed), (labels(), only)]),
        expect![[
            r#"[{"metric":{},"values":[[1,"1"]],"histograms":[[2,{"count":"0","sum":"0"}]]},{"metric":{"__name__":"up","job":"a\"b"},"histograms":[[1,{"count":"0","sum":"0"}],[2,{"count":"0","sum":"0"}]]}]"#
        ]],
    );
}

#[test]
fn times_are_seconds_without_trailing_zeros() {
    let mut seconds = Seconds::default();
    for (ms, text) in [
        (1_435_781_451_781, "1435781451.781"),
        (1_435_780_000_000, "1435780000"),
        (1_435_789_999_000, "1435789999"),
        (1_435_790_000_100, "1435790000.1"),
        (1_435_781_400_000, "1435781400"),
        (10_000_000, "10000"),
        (9_999_000, "9999"),
        (1_500, "1.5"),
        (1_050, "1.05"),
        (1_005, "1.005"),
        (1_000, "1"),
        (0, "0"),
        (-500, "-0.5"),
        (-1_435_781_451_781, "-1435781451.781"),
    ] {
        let mut out = Vec::new();
        seconds.push(&mut out, ms);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}

#[test]
fn a_large_answer_comes_in_pieces_of_the_length_asked_for() {
    let samples = Samples::floats((0..11_000).map(|s| s * 15_000).collect(), vec![0.123_456; 11_000]);
    let rows = (0..20).map(|n| (Labels::from_pairs([("n", n.to_string().as_str())]), samples.clone()));
    let value = QueryValue::Matrix(rows.collect());
    let (whole, _) = written(value.clone(), usize::MAX);
    let (pieces, longest) = written(value, 64 << 10);
    assert!(whole == pieces);
    assert!(longest < (64 << 10) + 100, "a piece of {longest} bytes");
    let json: serde_json::Value = serde_json::from_str(&whole).unwrap();
    let values = &json["data"]["result"][19]["values"];
    assert_eq!(values[10_999][1], "0.123456");
}

#[test]
fn notes_and_statistics_come_behind_the_series() {
    let ms = Duration::from_millis;
    let timings = QueryTimings {
        queue: ms(1),
        preparation: ms(2),
        evaluation: ms(500),
        result: ms(8),
        total: ms(511),
    };
    let mut answer = result(QueryValue::Vector(Vec::new()));
    answer.warnings.push("careful".into());
    answer.stats = QueryStats {
        total_queryable_samples: 3,
        queryable_per_step: vec![1, 0, 2],
        samples_read: 2,
        peak_samples: 1,
        timings,
    };
    let text = |stats| {
        let (mut writer, mut out) = (ResultWriter::new(answer.clone(), stats), Vec::new());
        while writer.write(&mut out, usize::MAX) {}
        String::from_utf8(out).unwrap()
    };
    expect![[r#"{"status":"success","data":{"resultType":"vector","result":[],"stats":{"timings":{"evalTotalTime":0.51,"resultSortTime":0.008,"queryPreparationTime":0.002,"innerEvalTime":0.5,"execQueueTime":0.001,"execTotalTime":0.511},"samples":{"totalQueryableSamples":3,"samplesRead":2,"peakSamples":1}}},"warnings":["careful"]}"#]]
    .assert_eq(&text(Some(Stats::Sums)));
    expect![[r#"{"status":"success","data":{"resultType":"vector","result":[],"stats":{"timings":{"evalTotalTime":0.51,"resultSortTime":0.008,"queryPreparationTime":0.002,"innerEvalTime":0.5,"execQueueTime":0.001,"execTotalTime":0.511},"samples":{"totalQueryableSamplesPerStep":[[1.5,1],[16.5,0],[31.5,2]],"totalQueryableSamples":3,"samplesRead":2,"peakSamples":1}}},"warnings":["careful"]}"#]]
    .assert_eq(&text(Some(Stats::Steps { start: 1_500, step: 15_000 })));
    expect![[r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["careful"]}"#]]
        .assert_eq(&text(None));
}

//! Reading encoding 4 against a writer that was made from its description.

use cupola_model::{STALE_NAN, STALE_NAN_BITS};
use proptest::prelude::*;

use crate::bits::{write, write_uvarint, write_varint};
use crate::{ChunkError, Encoding, decode, decode_xor2};

/// Time, value, start.
type Sample = (i64, u64, i64);

struct Oracle {
    bytes: Vec<u8>,
    free: u8,
    last: u64,
    window: Option<(u32, u32)>,
}

impl Oracle {
    fn put(&mut self, value: u64, count: u32) {
        write(&mut self.bytes, &mut self.free, value, count);
    }

    fn varbit(&mut self, value: i64) {
        let mut to = crate::histogram::Writer {
            bytes: &mut self.bytes,
            free: &mut self.free,
        };
        to.varbit_int(value);
    }

    // `prefixes` come before bits in the last window and before a new one.
    fn change(&mut self, value: u64, prefixes: [(u64, u32); 2]) {
        let xor = value ^ self.last;
        let (leading, trailing) = (xor.leading_zeros().min(31), xor.trailing_zeros());
        match self.window {
            Some((l, t)) if leading >= l && trailing >= t => {
                self.put(prefixes[0].0, prefixes[0].1);
                self.put(xor >> t, 64 - l - t);
            }
            _ => {
                self.window = Some((leading, trailing));
                let width = 64 - leading - trailing;
                self.put(prefixes[1].0, prefixes[1].1);
                self.put(u64::from(leading), 5);
                self.put(u64::from(width) & 63, 6);
                self.put(xor >> trailing, width);
            }
        }
        self.last = value;
    }

    fn value(&mut self, value: u64) {
        if value == STALE_NAN_BITS {
            self.put(0b111, 3);
        } else if value == self.last {
            self.put(0, 1);
        } else {
            self.change(value, [(0b10, 2), (0b110, 3)]);
        }
    }

    fn joint(&mut self, dod: i64, value: u64) {
        match dod {
            0 if value == STALE_NAN_BITS => self.put(0b11111, 5),
            0 if value == self.last => self.put(0, 1),
            0 => {
                self.put(0b10, 2);
                self.change(value, [(0, 1), (1, 1)]);
            }
            _ => {
                match dod {
                    -4096..=4095 => self.put(0b110 << 13 | (dod as u64 & 0x1fff), 16),
                    -524_288..=524_287 => self.put(0b1110 << 20 | (dod as u64 & 0xf_ffff), 24),
                    _ => {
                        self.put(0b11110, 5);
                        self.put(dod as u64, 64);
                    }
                }
                self.value(value);
            }
        }
    }
}

fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut o = Oracle {
        bytes: vec![0; 3],
        free: 0,
        last: 0,
        window: None,
    };
    let (mut flags, mut before, mut delta, mut distance) = (0_u8, 0_i64, 0_i64, 0_i64);
    for (at, &(ts, value, start)) in samples.iter().enumerate() {
        let new_delta = ts.wrapping_sub(before);
        let new_distance = before.wrapping_sub(start);
        match at {
            0 => {
                write_varint(&mut o.bytes, &mut o.free, ts);
                o.put(value, 64);
                if value != STALE_NAN_BITS {
                    o.last = value;
                }
                if start != 0 {
                    write_varint(&mut o.bytes, &mut o.free, ts.wrapping_sub(start));
                    flags = 0x80;
                }
            }
            1 => {
                write_uvarint(&mut o.bytes, &mut o.free, new_delta as u64);
                o.value(value);
            }
            _ => o.joint(new_delta.wrapping_sub(delta), value),
        }
        if at > 0 {
            if flags & 0x7f != 0 {
                o.varbit(new_distance.wrapping_sub(distance));
                distance = new_distance;
            } else if start != samples[at - 1].2 || at == 0x7f {
                o.varbit(new_distance);
                flags |= at as u8;
                distance = new_distance;
            }
        }
        (before, delta) = (ts, new_delta);
    }
    let count = (samples.len() as u16).to_be_bytes();
    o.bytes[..2].copy_from_slice(&count);
    o.bytes[2] = flags;
    o.bytes
}

fn read(bytes: &[u8], mint: i64, maxt: i64) -> Result<Vec<Sample>, ChunkError> {
    let mut out = Vec::new();
    decode_xor2(bytes, mint, maxt, |ts, value, start| {
        out.push((ts, value.to_bits(), start))
    })?;
    Ok(out)
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let step = prop_oneof![5 => Just(15_000_i64), 3 => 14_990_i64..15_010, 2 => 1_i64..1_000_000, 1 => 1_i64..1 << 45];
    let value = prop_oneof![
        4 => (0_u64..1000).prop_map(|n| (n as f64).to_bits()),
        4 => Just(42_f64.to_bits()),
        1 => any::<u64>(),
        1 => Just(STALE_NAN.to_bits()),
    ];
    let start = prop_oneof![20 => Just(None), 1 => (0_i64..1 << 41).prop_map(Some)];
    (
        any::<i32>(),
        any::<bool>(),
        prop::collection::vec((step, value, start), 0..200),
    )
        .prop_map(|(first, has_starts, steps)| {
            let (mut ts, mut start) = (i64::from(first), if has_starts { 77 } else { 0 });
            steps
                .into_iter()
                .map(|(step, value, new)| {
                    ts += step;
                    start = new.filter(|_| has_starts).unwrap_or(start);
                    (ts, value, start)
                })
                .collect()
        })
}

proptest! {
    #[test]
    fn samples_and_starts_come_back(samples in samples()) {
        let bytes = encode(&samples);
        prop_assert_eq!(&read(&bytes, i64::MIN, i64::MAX).unwrap(), &samples);
        let (mut ts, mut values) = (Vec::new(), Vec::new());
        decode(Encoding::Xor2, &bytes, i64::MIN, i64::MAX, &mut ts, &mut values).unwrap();
        prop_assert_eq!(ts, samples.iter().map(|s| s.0).collect::<Vec<_>>());
        if let Some(middle) = samples.get(samples.len() / 2) {
            let kept: Vec<_> = samples.iter().copied().filter(|s| s.0 >= middle.0).collect();
            prop_assert_eq!(read(&bytes, middle.0, i64::MAX).unwrap(), kept);
            let kept: Vec<_> = samples.iter().copied().filter(|s| s.0 <= middle.0).collect();
            prop_assert_eq!(read(&bytes, i64::MIN, middle.0).unwrap(), kept);
        }
    }

    #[test]
    fn a_chunk_cut_short_is_refused(samples in samples(), cut in 1_usize..20) {
        let bytes = encode(&samples);
        let short = read(&bytes[..bytes.len().saturating_sub(cut)], i64::MIN, i64::MAX);
        prop_assert!(short.is_err() || (cut == 1 && short == read(&bytes, i64::MIN, i64::MAX)));
    }
}

#[test]
fn no_bytes_make_the_decoder_panic() {
    let corpus: Vec<Vec<u8>> = (0..4)
        .map(|n| {
            let sample = |i: i64| {
                (
                    i * 1000 + i % n.max(1),
                    (i as f64 * 0.3).to_bits(),
                    if n > 1 { i / 50 * 7 } else { 0 },
                )
            };
            encode(&(0..150).map(sample).collect::<Vec<_>>())
        })
        .chain([vec![], vec![0, 0, 0]])
        .collect();
    cupola_testkit::fuzz(20_000, &corpus, &["\0"], |bytes| {
        if let Ok(samples) = read(bytes, i64::MIN, i64::MAX) {
            assert!(samples.len() <= bytes.len() * 8);
        }
    });
}

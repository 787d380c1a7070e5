//! Numbers as bytes, quickly: a large answer of the API is little else.

use crate::number::write_f64;

// "00" to "99".
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

// Whole numbers up to here are floats exactly, and their own shortest digits.
const WHOLE: f64 = 9_007_199_254_740_992.0;

fn pair(n: u64) -> [u8; 2] {
    PAIRS.get(n as usize).copied().unwrap_or_default()
}

/// Appends the digits of `n`.
pub fn push_u64(out: &mut Vec<u8>, mut n: u64) {
    if n < 10 {
        out.push(b'0' + n as u8);
        return;
    }
    let mut digits = [0_u8; 20];
    let mut from = digits.len();
    for slot in digits.rchunks_exact_mut(2) {
        if n == 0 {
            break;
        }
        slot.copy_from_slice(&pair(n % 100));
        n /= 100;
        from -= 2;
    }
    let written = digits.get(from..).unwrap_or_default();
    out.extend_from_slice(written.strip_prefix(b"0").unwrap_or(written));
}

/// Appends exactly four digits, those of `n % 10_000`.
pub fn push_4_digits(out: &mut Vec<u8>, n: u64) {
    let ([a, b], [c, d]) = (pair(n / 100 % 100), pair(n % 100));
    out.extend_from_slice(&[a, b, c, d]);
}

/// Appends what [`write_f64`] writes, faster.
pub fn push_f64(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    // Truncates; the float type's own function is a call on older processors. What is too large becomes another number.
    let whole = size as i64;
    if size < WHOLE && whole as f64 == size {
        if value.is_sign_negative() {
            out.push(b'-');
        }
        push_u64(out, whole.unsigned_abs());
        return;
    }
    if size < WHOLE {
        // Of two equally near decimals it takes the even one, as Go does and Rust does not.
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value);
        if !text.contains('e') {
            out.extend_from_slice(text.as_bytes());
            return;
        }
    }
    let mut text = String::new();
    write_f64(&mut text, value);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: f64) {
        let mut expected = String::new();
        write_f64(&mut expected, value);
        let mut out = Vec::new();
        push_f64(&mut out, value);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{:x}", value.to_bits());
    }

    #[test]
    fn floats_are_the_same_as_written_slowly() {
        for value in [
            0.0,
            1.0,
            9.0,
            10.0,
            99.0,
            100.0,
            12_345.0,
            WHOLE - 1.0,
            WHOLE,
            WHOLE + 2.0,
            1e20,
            1e21,
            1e300,
        ] {
            check(value);
            check(-value);
        }
        for value in [
            0.5,
            0.1,
            1e-4,
            1e-5,
            1e-6,
            9.9e-7,
            5e-324,
            f64::MIN_POSITIVE,
            1.0 / 3.0,
            // Its shortest text is a tie.
            871_871_805_743_677.0 + 0.25,
        ] {
            check(value);
            check(-value);
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN] {
            check(value);
        }
        // Any bits, numbers as rates and as counters are, and fractions with few binary places.
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            check(f64::from_bits(seed));
            check((seed >> 20) as f64);
            check((seed >> 11) as f64 / 9e15);
            for places in 1..16 {
                check((seed >> 11) as f64 / f64::from(1 << places));
                check((seed >> 20) as f64 / f64::from(1 << places));
            }
            check((seed >> 40) as f64 / 1000.0);
        }
    }

    #[test]
    fn whole_numbers_are_their_digits() {
        for n in [0, 9, 10, 42, 100, 999, 1000, 123_456_789, u64::MAX] {
            let mut out = Vec::new();
            push_u64(&mut out, n);
            assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
        }
        let mut out = Vec::new();
        push_4_digits(&mut out, 70_042);
        assert_eq!(out, b"0042");
    }
}

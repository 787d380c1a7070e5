//! Where a bucket ends.

use crate::bound_table::FRACTIONS;
use crate::float::CUSTOM_BUCKETS_SCHEMA;

/// The finest schema that has a table of bounds.
const FINEST: i32 = 8;

/// Upper bound of the positive bucket `index` (upstream `getBound`): exponential, or from the list `custom`.
///
/// Any index and schema is answered: below the list is -Inf, behind it +Inf (upstream panics there).
pub(crate) fn upper_bound(index: i64, schema: i32, custom: &[f64]) -> f64 {
    if schema != CUSTOM_BUCKETS_SCHEMA {
        return exponential_bound(index, schema);
    }
    usize::try_from(index).map_or(f64::NEG_INFINITY, |index| {
        custom.get(index).copied().unwrap_or(f64::INFINITY)
    })
}

/// `2^(index * 2^-schema)` (upstream `getBoundExponential`).
///
/// The last bucket of regular numbers ends at the largest float and not at infinity, so that the bucket behind it holds
/// the observations of infinity.
pub(crate) fn exponential_bound(index: i64, schema: i32) -> f64 {
    let (fraction, exponent) = if schema <= 0 {
        // Beyond 32 every index but 0 is far outside of what floats hold.
        let shift = schema.unsigned_abs().min(32);
        (0.5, index.clamp(-1 << 30, 1 << 30) << shift)
    } else if schema <= FINEST {
        let within = index & ((1 << schema) - 1);
        let fraction = usize::try_from(within << (FINEST - schema))
            .ok()
            .and_then(|at| FRACTIONS.get(at));
        (fraction.copied().unwrap_or(0.5), index >> schema)
    } else {
        // Schemas that Prometheus reserves but does not hold in memory.
        return (index as f64 / 2_f64.powi(schema)).exp2();
    };
    if fraction == 0.5 && exponent == 1024 {
        return f64::MAX;
    }
    scale(fraction, exponent.saturating_add(1))
}

/// `fraction * 2^exponent` for a fraction in `[0.5, 1)`, rounded once (Go's `math.Ldexp`).
fn scale(fraction: f64, exponent: i64) -> f64 {
    match exponent {
        ..-1080 => 0.0,
        // The first step is exact, the second rounds where the result is subnormal.
        -1080..0 => fraction * power(-512) * power(exponent + 512),
        0..=1024 => fraction * power(512) * power(exponent - 512),
        _ => f64::INFINITY,
    }
}

/// `2^exponent` for exponents of normal floats.
fn power(exponent: i64) -> f64 {
    f64::from_bits(u64::try_from(exponent + 1023).unwrap_or(0) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_bounds_are_prometheus_s() {
        for (index, schema, bound) in [
            (0, 0, 1.0),
            (1, 0, 2.0),
            (-1, 0, 0.5),
            (10, 0, 1024.0),
            (1, 2, 1.189_207_115_002_721),
            (-1, 2, 0.840_896_415_253_714_4),
            (512, 1, 1.157_920_892_373_162e77),
            (1, -1, 4.0),
            (-1, -4, 1.0 / 65536.0),
            (-1074, 0, 5e-324),
            (-1075, 0, 0.0),
            (1023, 0, 8.988_465_674_311_58e307),
            (1024, 0, f64::MAX),
            (1025, 0, f64::INFINITY),
            (2048, 1, f64::MAX),
            (2049, 1, f64::INFINITY),
            (64, -4, f64::MAX),
            (65, -4, f64::INFINITY),
            (255, 8, 0.997_296_056_085_469_8 * 2.0),
            (i64::MAX, 0, f64::INFINITY),
            (i64::MIN, 8, 0.0),
            (i64::MIN, -400, 0.0),
            (i64::MAX, -400, f64::INFINITY),
            (1 << 20, 20, 2.0),
        ] {
            assert_eq!(exponential_bound(index, schema), bound, "{index} of schema {schema}");
        }
    }

    #[test]
    fn custom_bounds_end_at_infinity() {
        let at = |index| upper_bound(index, CUSTOM_BUCKETS_SCHEMA, &[1.0, 2.0]);
        assert_eq!(
            [at(-1), at(0), at(1), at(2), at(3)],
            [f64::NEG_INFINITY, 1.0, 2.0, f64::INFINITY, f64::INFINITY]
        );
    }
}

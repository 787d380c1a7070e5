//! The flags that say how long samples stay, where that is more than a number.

use cupola_model::{format_duration, parse_duration};
use cupola_promql::{parse_selector, render_errors};
use cupola_tsdb::{RetentionRule, TierOptions};

const DAY_MS: i64 = 86_400_000;

/// `{__name__=~"debug_.*"}=3d`: the duration stands behind the last equals sign.
pub(super) fn rule(text: &str) -> Result<RetentionRule, String> {
    let (selector, retention) = text
        .rsplit_once('=')
        .filter(|(_, retention)| !retention.contains(['"', '}']))
        .ok_or("is not SELECTOR=DURATION, such as {job=\"batch\"}=3d")?;
    let matchers = parse_selector(selector).map_err(|errors| render_errors(selector, &errors))?;
    Ok(RetentionRule {
        matchers,
        retention_ms: duration(retention)?,
    })
}

/// `5m:90d`.
pub(super) fn tier(text: &str) -> Result<TierOptions, String> {
    let (resolution, retention) = text
        .split_once(':')
        .ok_or("is not RESOLUTION:RETENTION, such as 5m:90d")?;
    let resolution_ms = duration(resolution)?;
    // Windows then begin with the day, as the steps of graphs do, and a block has whole ones.
    if resolution_ms < 60_000 || DAY_MS % resolution_ms != 0 {
        return Err("the resolution must be at least 1m and divide a day".to_owned());
    }
    let retention_ms = duration(retention)?;
    if retention_ms > 0 && retention_ms < resolution_ms.saturating_mul(48) {
        return Err("the retention must be at least 48 times the resolution".to_owned());
    }
    Ok(TierOptions {
        resolution_ms,
        retention_ms,
    })
}

/// What is wrong with several tiers together.
pub(super) fn check_tiers(tiers: &[TierOptions]) -> Result<(), String> {
    for (at, tier) in tiers.iter().enumerate() {
        if tiers
            .iter()
            .take(at)
            .any(|other| other.resolution_ms == tier.resolution_ms)
        {
            return Err(format!("{} is named twice", format_duration(tier.resolution_ms)));
        }
    }
    Ok(())
}

fn duration(text: &str) -> Result<i64, String> {
    parse_duration(text).map_err(|e| e.to_string())
}

//! `/api/v1/admin/tsdb/*`: deleting series, cleaning up behind it, snapshots (`--web.enable-admin-api`).

use std::hash::{BuildHasher as _, RandomState};

use cupola_promql::parse_match_param;
use http::StatusCode;

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, ErrorKind, success, write_str};
use crate::api::params::parse_bool;

fn check_enabled(ask: &Ask<'_>) -> Result<(), ApiError> {
    if ask.app.admin_api {
        return Ok(());
    }
    Err(ApiError {
        kind: ErrorKind::Unavailable,
        message: "admin APIs disabled".to_owned(),
    })
}

fn done() -> Answer {
    Answer::text(StatusCode::NO_CONTENT, "")
}

/// `delete_series`: of the series that match, the samples of a time.
pub(super) fn delete_series(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    check_enabled(ask)?;
    if ask.params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let start = ask.params.time("start", i64::MIN)?;
    let end = ask.params.time("end", i64::MAX)?;
    let sets = ask
        .params
        .all("match[]")
        .map(|text| parse_match_param(text).map_err(|e| ApiError::param("match[]", e)))
        .collect::<Result<Vec<_>, _>>()?;
    let deleted = ask.app.tsdb.delete_series(&sets, start, end);
    deleted.map_err(|e| ApiError::internal(e.to_string()))?;
    Ok(done())
}

/// `clean_tombstones`: what was deleted is gone from the disk afterwards.
pub(super) fn clean_tombstones(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    check_enabled(ask)?;
    let cleaned = ask.app.tsdb.clean_tombstones();
    cleaned.map_err(|e| ApiError::internal(e.to_string()))?;
    Ok(done())
}

/// `snapshot`: a data folder of its own below `snapshots` in the data folder.
pub(super) fn snapshot(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    check_enabled(ask)?;
    let skip_head = match ask.params.get("skip_head") {
        "" => false,
        text => parse_bool(text).map_err(|e| ApiError::param("skip_head", format!("unable to parse boolean: {e}")))?,
    };
    let now = jiff::Timestamp::from_millisecond(ask.app.clock.now_ms())
        .map_err(|e| ApiError::internal(format!("the clock is wrong: {e}")))?;
    // The hasher's keys are the system's randomness: two snapshots of one second are two folders.
    let name = format!(
        "{}-{:016x}",
        now.strftime("%Y%m%dT%H%M%SZ"),
        RandomState::new().hash_one(now)
    );
    let dir = ask.app.tsdb.dir().join("snapshots").join(&name);
    let made = ask.app.tsdb.snapshot(&dir, !skip_head);
    made.map_err(|e| ApiError::internal(format!("create snapshot: {e}")))?;
    let mut data = String::from("{\"name\":");
    write_str(&mut data, &name);
    data.push('}');
    Ok(success(&data))
}

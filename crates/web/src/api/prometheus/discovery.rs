//! How service discovery fares. Ours: Prometheus tells it in its log only.

use std::fmt::Write as _;

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, success, write_list, write_str, write_strs, write_time};

/// `status/discovery`: each provider, what it found and what went wrong last.
pub(super) fn status(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let managers = ask.app.discovery.iter();
    let providers: Vec<_> = managers
        .flat_map(|manager| manager.status().into_iter().map(|status| (manager.name(), status)))
        .collect();
    let mut data = String::from("{\"providers\":");
    write_list(&mut data, &providers, |out, (manager, status)| {
        for (i, (name, text)) in [
            ("manager", *manager),
            ("mechanism", status.mechanism),
            ("place", &status.place),
            ("lastError", &status.last_error),
        ]
        .into_iter()
        .enumerate()
        {
            let _ = write!(out, "{}\"{name}\":", if i == 0 { '{' } else { ',' });
            write_str(out, text);
        }
        out.push_str(",\"configs\":");
        write_strs(out, &status.sets);
        let _ = write!(
            out,
            ",\"groups\":{},\"targets\":{},\"failures\":{},\"lastRefresh\":",
            status.groups, status.targets, status.failures
        );
        write_time(out, status.last_refresh);
        out.push('}');
    });
    data.push('}');
    Ok(success(&data))
}

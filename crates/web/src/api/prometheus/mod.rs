//! `/api/v1` as Prometheus 3.14 answers it, and the two addresses beside it that speak its text format.

mod admin;
mod backtest;
mod dead;
mod discovery;
mod exemplars;
mod federate;
mod labels;
mod metadata;
mod notifications;
mod otlp;
mod own;
mod pushed;
mod query;
mod read;
mod relabel;
mod result;
mod rules;
mod status;
mod targets;
mod why;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::answer::{on_get, on_get_always, on_get_or_post, on_post_or_put, on_query};
use super::openapi::openapi;
use crate::router::Ctx;

pub(crate) fn routes() -> Router<Arc<Ctx>> {
    Router::new()
        .route("/api/v1/query", on_query(query::instant))
        .route("/api/v1/query_range", on_query(query::range))
        .route("/api/v1/query_exemplars", on_get_or_post(exemplars::exemplars))
        .route("/api/v1/format_query", on_get_or_post(query::format))
        .route("/api/v1/parse_query", on_get_or_post(query::tree))
        .route(
            "/api/v1/series",
            on_get_or_post(labels::series).delete(labels::drop_series),
        )
        .route("/api/v1/labels", on_get_or_post(labels::names))
        .route("/api/v1/label/{name}/values", on_get(labels::values))
        .route("/api/v1/targets", on_get(targets::targets))
        .route("/api/v1/metadata", on_get(metadata::metadata))
        .route("/api/v1/targets/metadata", on_get(metadata::targets_metadata))
        .route("/api/v1/targets/relabel_steps", on_get(relabel::steps))
        .route("/api/v1/scrape_pools", on_get(targets::scrape_pools))
        .route("/api/v1/alertmanagers", on_get(targets::alertmanagers))
        .route("/api/v1/status/discovery", on_get(discovery::status))
        .route("/api/v1/rules", on_get(rules::rules))
        .route("/api/v1/rules/backtest", on_query(backtest::rules))
        .route("/api/v1/rules/dead", on_get(dead::rules))
        .route("/api/v1/alerts", on_get(rules::alerts))
        .route("/api/v1/alerts/history", on_get(why::history))
        .route("/api/v1/status/config", on_get(status::config))
        .route("/api/v1/status/flags", on_get(status::flags))
        .route("/api/v1/status/runtimeinfo", on_get(status::runtime_info))
        .route("/api/v1/status/buildinfo", on_get(status::build_info))
        .route("/api/v1/status/tsdb", on_get(status::tsdb))
        .route("/api/v1/status/tsdb/blocks", on_get(status::tsdb_blocks))
        // Asked while the server starts, to show how far it is.
        .route("/api/v1/status/walreplay", on_get_always(status::wal_replay))
        .route("/api/v1/status/self_metrics", on_get(own::self_metrics))
        .route("/api/v1/features", on_get_always(own::features))
        .route("/api/v1/openapi.yaml", on_get_always(openapi))
        .route("/api/v1/notifications", on_get_always(notifications::notifications))
        .route("/api/v1/notifications/live", get(notifications::live))
        .route("/api/v1/admin/tsdb/delete_series", on_post_or_put(admin::delete_series))
        .route(
            "/api/v1/admin/tsdb/clean_tombstones",
            on_post_or_put(admin::clean_tombstones),
        )
        .route("/api/v1/admin/tsdb/snapshot", on_post_or_put(admin::snapshot))
        .route("/api/v1/write", post(write::write))
        .route("/api/v1/read", post(read::read))
        .route("/api/v1/otlp/v1/metrics", post(otlp::metrics))
        .route("/federate", on_get(federate::federate))
        .route("/metrics", on_get_always(status::metrics))
        .route("/metrics/node", on_get(status::node_metrics))
        .route("/version", on_get_always(status::version))
}

//! `remote_write` and `remote_read`.

use super::http::{client, hidden, sigv4};
use super::yaml::{Map, Yaml};
use super::{duration, labels, path, relabel_all, shown_url, texts};
use crate::prometheus::{AzureAdConfig, AzureCredentials, RemoteAuth, RemoteReadConfig, RemoteWriteConfig};

pub(super) fn write(config: &RemoteWriteConfig) -> Map {
    let mut map = Map::default();
    map.text("url", &shown_url(&config.url));
    map.text("remote_timeout", &duration(config.remote_timeout));
    map.map("headers", texts(&config.headers));
    map.list("write_relabel_configs", relabel_all(&config.write_relabel_configs));
    map.filled("name", config.name.as_deref().unwrap_or_default());
    map.yes("send_exemplars", config.send_exemplars);
    map.yes("send_native_histograms", config.send_native_histograms);
    map.yes("round_robin_dns", config.round_robin_dns);
    map.text("protobuf_message", config.message.as_str());
    map.inline(client(&config.http));
    let queue = &config.queue;
    let mut fields = Map::default();
    fields.count("capacity", queue.capacity);
    fields.count("max_shards", queue.max_shards);
    fields.count("min_shards", queue.min_shards);
    fields.count("max_samples_per_send", queue.max_samples_per_send);
    fields.text("batch_send_deadline", &duration(queue.batch_send_deadline));
    fields.text("min_backoff", &duration(queue.min_backoff));
    fields.text("max_backoff", &duration(queue.max_backoff));
    fields.yes("retry_on_http_429", queue.retry_on_http_429);
    if !queue.sample_age_limit.is_zero() {
        fields.text("sample_age_limit", &duration(queue.sample_age_limit));
    }
    map.map("queue_config", fields);
    let mut fields = Map::default();
    fields.raw("send", config.metadata.send);
    fields.text("send_interval", &duration(config.metadata.send_interval));
    fields.count("max_samples_per_send", config.metadata.max_samples_per_send);
    map.map("metadata_config", fields);
    match &config.auth {
        Some(RemoteAuth::SigV4(config)) => _ = map.put("sigv4", Yaml::Map(sigv4(config))),
        Some(RemoteAuth::AzureAd(config)) => _ = map.map("azuread", azure(config)),
        Some(RemoteAuth::GoogleIam(file)) => {
            let mut fields = Map::default();
            if let Some(file) = file {
                fields.text("credentials_file", &path(file));
            }
            map.put("google_iam", Yaml::Map(fields));
        }
        None => {}
    }
    map
}

pub(super) fn read(config: &RemoteReadConfig) -> Map {
    let mut map = Map::default();
    map.text("url", &shown_url(&config.url));
    map.text("remote_timeout", &duration(config.remote_timeout));
    map.count("chunked_read_limit", config.chunked_read_limit);
    map.map("headers", texts(&config.headers));
    map.yes("read_recent", config.read_recent);
    map.filled("name", config.name.as_deref().unwrap_or_default());
    map.inline(client(&config.http));
    map.map("required_matchers", labels(&config.required_matchers));
    // Upstream leaves it out where it is off, as if it had its default.
    map.raw("filter_external_labels", config.filter_external_labels);
    map
}

fn azure(config: &AzureAdConfig) -> Map {
    let mut own = Map::default();
    let kind = match &config.credentials {
        AzureCredentials::ManagedIdentity { client_id } => {
            own.filled("client_id", client_id);
            "managed_identity"
        }
        AzureCredentials::OAuth {
            client_id, tenant_id, ..
        } => {
            own.text("client_id", client_id).put("client_secret", hidden());
            own.text("tenant_id", tenant_id);
            "oauth"
        }
        AzureCredentials::WorkloadIdentity {
            client_id,
            tenant_id,
            token_file,
        } => {
            own.text("client_id", client_id).text("tenant_id", tenant_id);
            own.text("token_file_path", &path(token_file));
            "workload_identity"
        }
        AzureCredentials::Sdk { tenant_id } => {
            own.filled("tenant_id", tenant_id);
            "sdk"
        }
    };
    let mut map = Map::default();
    map.put(kind, Yaml::Map(own));
    map.filled("cloud", &config.cloud);
    map.filled("scope", &config.scope);
    map
}

//! Flags of what other servers send here and read from here.

use cupola_config::prometheus::RemoteWriteMessage;

/// How others may write to this server and read from it.
#[derive(Debug, Clone)]
pub(crate) struct RemoteSettings {
    /// `--web.remote-write-receiver.accepted-protobuf-messages`
    pub write_messages: Vec<RemoteWriteMessage>,
    /// `--web.enable-otlp-receiver`
    pub otlp_receiver: bool,
    /// `--storage.remote.read-sample-limit`; 0 is none.
    pub read_sample_limit: usize,
    /// `--storage.remote.read-concurrent-limit`; 0 is none.
    pub read_concurrent_limit: usize,
    /// `--storage.remote.read-max-bytes-in-frame`
    pub read_max_bytes_in_frame: usize,
}

impl Default for RemoteSettings {
    fn default() -> Self {
        Self {
            write_messages: vec![RemoteWriteMessage::V1, RemoteWriteMessage::V2],
            otlp_receiver: false,
            read_sample_limit: 50_000_000,
            read_concurrent_limit: 10,
            read_max_bytes_in_frame: 1 << 20,
        }
    }
}

/// Reads a list of names of messages.
///
/// # Errors
/// Which one is none.
pub(super) fn write_messages(text: &str) -> Result<Vec<RemoteWriteMessage>, String> {
    let all = [RemoteWriteMessage::V1, RemoteWriteMessage::V2];
    let one = |name: &str| {
        let found = all.into_iter().find(|message| message.as_str() == name);
        found.ok_or_else(|| {
            let known = all.map(RemoteWriteMessage::as_str).join(", ");
            format!("unknown type for remote write protobuf message {name}, supported: {known}")
        })
    };
    text.split(',').map(str::trim).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_named_as_in_the_content_type() {
        let both = "prometheus.WriteRequest, io.prometheus.write.v2.Request";
        assert_eq!(
            write_messages(both),
            Ok(vec![RemoteWriteMessage::V1, RemoteWriteMessage::V2])
        );
        let error = write_messages("prometheus.WriteRequest,x").unwrap_err();
        assert_eq!(
            error,
            "unknown type for remote write protobuf message x, supported: prometheus.WriteRequest, \
             io.prometheus.write.v2.Request"
        );
    }
}

//! A receiver is tried out: one message, marked as a test, through its real integrations.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::alertmanager::Receiver;
use cupola_model::{Labels, go_quote};

use crate::data::{Notification, NotifiedAlert};
use crate::integration::{Integration, SendError, hidden};
use crate::templates::Templates;

tokio::task_local! {
    static SEEN: RefCell<Vec<Exchange>>;
}

// Of a body or an answer, so much is shown.
const MAX_SHOWN: usize = 16 << 10;

/// One request of a test and what came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// `POST`
    pub method: String,
    /// Whom it went to. The rest of the URL is not shown: it often holds a token.
    pub host: String,
    /// What was sent; binary bytes are replaced, and a long one is cut.
    pub body: String,
    /// The status of the answer, and its text.
    pub answer: (u16, String),
}

/// What one integration made of the test message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// `slack[0]`
    pub integration: String,
    /// Whether it arrived.
    pub result: Result<(), SendError>,
    /// The requests in their order, with `<secret>` for the receiver's secrets; none of e-mail, which speaks no HTTP.
    pub exchanges: Vec<Exchange>,
}

/// What the alert of a test says; what is not given here is put in.
#[derive(Debug, Clone, Default)]
pub struct Saying {
    /// `alertname` is `CupolaReceiverTest` and `receiver` the receiver's name where they are not given.
    pub labels: BTreeMap<String, String>,
    /// `summary` and `description` say that it is a test where they are not given.
    pub annotations: BTreeMap<String, String>,
}

impl Saying {
    fn alert(mut self, receiver: &str, external_url: &str, now_ms: i64) -> NotifiedAlert {
        let default = |map: &mut BTreeMap<String, String>, name: &str, value: &str| {
            map.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        };
        default(&mut self.labels, "alertname", "CupolaReceiverTest");
        default(&mut self.labels, "receiver", receiver);
        default(&mut self.annotations, "summary", "This is a test of a receiver.");
        default(
            &mut self.annotations,
            "description",
            "Somebody tried out this receiver. Nothing is wrong, and nothing is to be done.",
        );
        NotifiedAlert {
            is_new: true,
            labels: Labels::from_pairs(&self.labels),
            annotations: Labels::from_pairs(&self.annotations),
            starts_at: now_ms,
            ends_at: None,
            generator_url: external_url.to_owned(),
        }
    }
}

/// Sends one message with one firing alert through each integration of `receiver`, one after the other, each within
/// `timeout`. Nothing is tried again. `now_ms` is when the alert says it began.
pub async fn try_receiver(
    receiver: &Receiver,
    templates: &Arc<Templates>,
    external_url: &str,
    saying: Saying,
    now_ms: i64,
    timeout: Duration,
) -> Vec<Tested> {
    let alert = saying.alert(&receiver.name, external_url, now_ms);
    let name = alert.labels.get("alertname").unwrap_or_default().to_owned();
    let notification = Notification {
        receiver: receiver.name.clone(),
        alerts: vec![alert],
        group_labels: Labels::from_pairs([("alertname", &name)]),
        external_url: external_url.to_owned(),
        // Of its own, so that no incident of a real group is touched.
        group_key: format!("{{}}/test:{{alertname={}}}:{now_ms}", go_quote(&name)),
        reason: "first notification",
        route_labels: BTreeMap::new(),
    };
    let mut all = Vec::new();
    for integration in Integration::of(receiver, templates) {
        let attempt = SEEN.scope(RefCell::default(), async {
            let result = integration.send(&notification, timeout).await;
            (result, SEEN.with(RefCell::take))
        });
        let (result, mut exchanges) = attempt.await;
        let secrets = integration.secrets();
        exchanges.iter_mut().for_each(|exchange| hide(exchange, &secrets));
        all.push(Tested {
            integration: format!("{}[{}]", integration.kind(), integration.index()),
            result,
            exchanges,
        });
    }
    all
}

/// Runs an attempt and tells which requests it took, without what they held: `POST chat.example.org: 200`. Those that were
/// not answered are not among them.
pub async fn watched<T>(attempt: impl Future<Output = T>) -> (T, String) {
    let watching = SEEN.scope(RefCell::default(), async {
        let done = attempt.await;
        (done, SEEN.with(RefCell::take))
    });
    let (done, seen) = watching.await;
    let told: Vec<String> = seen
        .iter()
        .map(|one| format!("{} {}: {}", one.method, one.host, one.answer.0))
        .collect();
    (done, told.join("; "))
}

fn hide(exchange: &mut Exchange, secrets: &[String]) {
    let Exchange {
        body,
        answer: (_, answer),
        ..
    } = exchange;
    *body = hidden(body, secrets);
    *answer = hidden(answer, secrets);
    // WeChat gives a key for the next two hours.
    if answer.contains("access_token") {
        "<secret>".clone_into(answer);
    }
}

/// Notes a request where somebody watches.
pub(crate) fn note(method: &http::Method, url: &http::Uri, body: &[u8], status: u16, answer: &[u8]) {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes.get(..MAX_SHOWN).unwrap_or(bytes)).into_owned();
    // Outside of a test there is nobody.
    let _ = SEEN.try_with(|seen| {
        seen.borrow_mut().push(Exchange {
            method: method.to_string(),
            host: url.authority().map(|host| host.host().to_owned()).unwrap_or_default(),
            body: shown(body),
            answer: (status, shown(answer)),
        });
    });
}

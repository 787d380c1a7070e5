//! E-mail by SMTP (RFC 5321): STARTTLS or TLS from the beginning, CRAM-MD5, PLAIN or LOGIN, whichever of these the server
//! offers first (Alertmanager 0.34).

mod mime;

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cupola_model::md5;
use cupola_net::{LineConnection, NetError, tls_of};

use super::Message;
use crate::integration::SendError;
use mime::{Mail, addresses};

const IMPLICIT_TLS_PORT: u16 = 465;
// So long a server may take for its goodbye, which nobody needs.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let mail = compose(message)?;
    let sent = tokio::time::timeout(message.left(), deliver(message, &mail)).await;
    let mut smtp = sent.unwrap_or_else(|_| Err(SendError::of_net(&NetError::Timeout(message.timeout))))?;
    // It is delivered; how the server takes leave does not matter.
    let _ = tokio::time::timeout(FAREWELL, smtp.command("QUIT", 221)).await;
    Ok(())
}

/// What is sent, and to whom.
#[derive(Debug)]
struct Envelope {
    from: String,
    to: Vec<String>,
    raw: Vec<u8>,
}

fn compose(message: &Message<'_>) -> Result<Envelope, SendError> {
    let config = message.config;
    let (from, to) = (message.field("from")?, message.field("to")?);
    let sender = match addresses(&from).as_deref() {
        Some([one]) => one.clone(),
        Some(many) => {
            return Err(SendError::last(format!(
                "from: one address is needed, there are {}",
                many.len()
            )));
        }
        None => return Err(SendError::last(format!("from: {from:?} is no mail address"))),
    };
    let Some(recipients) = addresses(&to).filter(|all| !all.is_empty()) else {
        return Err(SendError::last(format!("to: {to:?} is no list of mail addresses")));
    };
    let mut mail = Mail::default();
    let mut has = [false; 3];
    for (name, text) in config.map("headers").into_iter().flatten() {
        has = [
            has[0] || name == "Subject",
            has[1] || name == "To",
            has[2] || name == "From",
        ];
        mail.header(name, &message.expand(text)?);
    }
    let [has_subject, has_to, has_from] = has;
    if !has_subject {
        mail.header(
            "Subject",
            &message.expand("{{ template \"email.default.subject\" . }}")?,
        );
    }
    if !has_to {
        mail.header("To", &to);
    }
    if !has_from {
        mail.header("From", &from);
    }
    if config.flag("threading") {
        let thread = thread(message);
        mail.header("References", &thread);
        mail.header("In-Reply-To", &thread);
    }
    if !config.text("text").is_empty() {
        mail.part("text/plain", &message.field("text")?);
    }
    if !config.text("html").is_empty() {
        let html = message
            .templates
            .render_html(config.text("html"), message.notification)?;
        mail.part("text/html", &html);
    }
    Ok(Envelope {
        from: sender,
        to: recipients,
        raw: mail.finish(),
    })
}

// The same for all mails about a group, of one day where it says so, so that readers show them together.
fn thread(message: &Message<'_>) -> String {
    let date = match message.config.text("thread_by_date") {
        "none" => String::new(),
        _ => jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
    };
    format!("<alert-{}-{date}@alertmanager>", message.id())
}

// Ends when the server has taken the mail.
async fn deliver(message: &Message<'_>, mail: &Envelope) -> Result<Smtp, SendError> {
    let config = message.config;
    let (host, port) = config
        .text("smarthost")
        .rsplit_once(':')
        .unwrap_or((config.text("smarthost"), "25"));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port: u16 = port
        .parse()
        .map_err(|_| SendError::last(format!("smarthost: {port:?} is no port")))?;
    let implicit = match config.has_flag("force_implicit_tls") {
        true => config.flag("force_implicit_tls"),
        false => port == IMPLICIT_TLS_PORT,
    };
    let net = |error: NetError| SendError::of_net(&error);
    let mut connection = LineConnection::open(host, port).await.map_err(net)?;
    if implicit {
        connection = connection
            .encrypt(&tls_of(&config.tls).map_err(net)?, host)
            .await
            .map_err(net)?;
    }
    let mut smtp = Smtp { connection };
    smtp.answer(220, "greeting").await?;
    let mut offers = smtp.hello(config.text("hello")).await?;
    if !implicit && config.flag("require_tls") {
        if !offers.iter().any(|offer| offer.eq_ignore_ascii_case("STARTTLS")) {
            let told = format!(
                "'require_tls' is true (default), but {} does not advertise the STARTTLS extension",
                config.text("smarthost")
            );
            return Err(retry(told));
        }
        smtp.command("STARTTLS", 220).await?;
        let tls = tls_of(&config.tls).map_err(net)?;
        let connection = smtp.connection.encrypt(&tls, host).await.map_err(net)?;
        smtp = Smtp { connection };
        offers = smtp.hello(config.text("hello")).await?;
    }
    let methods = offers.iter().find_map(|offer| {
        let (word, methods) = offer.split_once([' ', '='])?;
        word.eq_ignore_ascii_case("AUTH").then_some(methods)
    });
    // As in Alertmanager: a server that offers no way to log in is told without. One that asks for it refuses the sender.
    if let Some(methods) = methods
        && !config.text("auth_username").is_empty()
    {
        log_in(message, &mut smtp, methods, host).await?;
    }
    smtp.command(&format!("MAIL FROM:<{}>", mail.from), 250).await?;
    for to in &mail.to {
        smtp.command(&format!("RCPT TO:<{to}>"), 250).await?;
    }
    smtp.command("DATA", 354).await?;
    smtp.write(&stuffed(&mail.raw)).await?;
    smtp.answer(250, "message").await?;
    Ok(smtp)
}

// A line that is a dot ends the message, so each that begins with one gets another.
fn stuffed(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 8);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

fn retry(text: impl Into<String>) -> SendError {
    SendError {
        retry: true,
        ..SendError::last(text)
    }
}

struct Smtp {
    connection: LineConnection,
}

impl Smtp {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let failed = |error: io::Error| retry(format!("write to the mail server: {error}"));
        self.connection.write(bytes).await.map_err(failed)
    }

    // Reads an answer, all its lines.
    async fn read(&mut self) -> Result<(u16, Vec<String>), SendError> {
        let mut lines = Vec::new();
        loop {
            let line = self.connection.read_line().await;
            let line = line.map_err(|error| retry(format!("read from the mail server: {error}")))?;
            let (code, text) = line.split_at_checked(3).unwrap_or((&line, ""));
            let Ok(code) = code.parse::<u16>() else {
                return Err(retry(format!("the mail server answers {line:?}, which is no SMTP")));
            };
            lines.push(text.get(1..).unwrap_or_default().to_owned());
            if !text.starts_with('-') {
                return Ok((code, lines));
            }
            if lines.len() > 100 {
                return Err(retry("the mail server's answer has no end"));
            }
        }
    }

    async fn answer(&mut self, wanted: u16, what: &str) -> Result<Vec<String>, SendError> {
        let (code, lines) = self.read().await?;
        if code == wanted || (wanted == 250 && code == 251) {
            return Ok(lines);
        }
        let mut error = retry(format!("{what}: the mail server answers {code} {}", lines.join(" ")));
        if matches!(code, 530 | 534 | 535) {
            error.reason = "authError";
        }
        Err(error)
    }

    // What is told of a command is its first word, which is never a secret.
    async fn command(&mut self, command: &str, wanted: u16) -> Result<Vec<String>, SendError> {
        self.write(format!("{command}\r\n").as_bytes()).await?;
        self.answer(wanted, command.split(':').next().unwrap_or(command)).await
    }

    async fn secret(&mut self, text: &str, wanted: u16) -> Result<Vec<String>, SendError> {
        self.write(format!("{text}\r\n").as_bytes()).await?;
        let answer = self.answer(wanted, "AUTH").await;
        // A server that does not know what it is told may repeat it.
        let word = text.rsplit(' ').next().filter(|word| !word.is_empty());
        answer.map_err(|error| SendError {
            message: word.map_or(error.message.clone(), |word| error.message.replace(word, "<secret>")),
            ..error
        })
    }

    async fn hello(&mut self, name: &str) -> Result<Vec<String>, SendError> {
        self.write(format!("EHLO {name}\r\n").as_bytes()).await?;
        let (code, mut lines) = self.read().await?;
        if code != 250 {
            // A server of before 1995, or a filter in front of one, knows only the old word, and offers nothing.
            return self.command(&format!("HELO {name}"), 250).await.map(|_| Vec::new());
        }
        // The first says who it is.
        if !lines.is_empty() {
            lines.remove(0);
        }
        Ok(lines)
    }
}

// By the first of the server's methods that can be used.
async fn log_in(message: &Message<'_>, smtp: &mut Smtp, methods: &str, host: &str) -> Result<(), SendError> {
    let config = message.config;
    let user = config.text("auth_username");
    let is_local = matches!(host, "localhost" | "127.0.0.1" | "::1");
    let (has_secret, has_password) = (
        config.secret("auth_secret").is_some(),
        config.secret("auth_password").is_some(),
    );
    for method in methods.split_whitespace() {
        match method.to_ascii_uppercase().as_str() {
            "CRAM-MD5" if has_secret => {
                let lines = smtp.command("AUTH CRAM-MD5", 334).await?;
                let challenge = decoded(&lines)?;
                let digest = cram_md5(message.secret("auth_secret")?.as_bytes(), &challenge);
                smtp.secret(&BASE64.encode(format!("{user} {digest}")), 235).await?;
                return Ok(());
            }
            "PLAIN" if has_password => {
                if !smtp.connection.is_encrypted() && !is_local {
                    return Err(retry(
                        "AUTH PLAIN: unencrypted connection; set require_tls, or let the server offer another method",
                    ));
                }
                let identity = config.text("auth_identity");
                let text = format!("{identity}\0{user}\0{}", message.secret("auth_password")?);
                smtp.secret(&format!("AUTH PLAIN {}", BASE64.encode(text)), 235).await?;
                return Ok(());
            }
            "LOGIN" if has_password => {
                let mut lines = smtp.command("AUTH LOGIN", 334).await?;
                // Whatever it asks for, in whatever order. Exchange and Python say "User Name" with a zero behind it.
                for last in [false, true] {
                    let asked = String::from_utf8_lossy(&decoded(&lines)?).to_lowercase();
                    let asked: String = asked.chars().filter(char::is_ascii_alphanumeric).collect();
                    let text = match asked.as_str() {
                        "username" => user.to_owned(),
                        "password" => message.secret("auth_password")?,
                        other => return Err(retry(format!("AUTH LOGIN: the mail server asks for {other:?}"))),
                    };
                    lines = smtp.secret(&BASE64.encode(text), if last { 235 } else { 334 }).await?;
                }
                return Ok(());
            }
            _ => {}
        }
    }
    Err(SendError {
        reason: "authError",
        ..retry(format!(
            "unknown auth mechanism: {methods} (there is a password for PLAIN and LOGIN, a secret for CRAM-MD5)"
        ))
    })
}

fn decoded(lines: &[String]) -> Result<Vec<u8>, SendError> {
    let text = lines.last().map_or("", |line| line.trim());
    BASE64
        .decode(text)
        .map_err(|_| retry("AUTH: the mail server's question is no base64"))
}

// HMAC-MD5 of the challenge (RFC 2195).
fn cram_md5(secret: &[u8], challenge: &[u8]) -> String {
    const BLOCK: usize = 64;
    let mut key = [0_u8; BLOCK];
    let short = if secret.len() > BLOCK {
        md5(secret).to_vec()
    } else {
        secret.to_vec()
    };
    key.iter_mut().zip(&short).for_each(|(to, from)| *to = *from);
    let padded = |pad: u8, text: &[u8]| {
        let mut all: Vec<u8> = key.iter().map(|byte| byte ^ pad).collect();
        all.extend_from_slice(text);
        md5(&all)
    };
    let inner = padded(0x36, challenge);
    padded(0x5c, &inner).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;

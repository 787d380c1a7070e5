//! A connection for protocols of lines, such as SMTP, that may turn to TLS on the way.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio_rustls::TlsConnector;

use crate::dial::connect;
use crate::{NetError, Tls};

// No line of an answer is longer.
const MAX_LINE: u64 = 16 << 10;

/// Any connection, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection to one host. Whoever uses it sets the deadline.
pub struct LineConnection {
    stream: BufReader<Box<dyn Stream>>,
    is_encrypted: bool,
}

impl LineConnection {
    /// Connects to `host` at `port`.
    ///
    /// # Errors
    /// [`NetError::Resolve`], [`NetError::Connect`].
    pub async fn open(host: &str, port: u16) -> Result<Self, NetError> {
        let stream = connect(host, port).await?;
        Ok(Self {
            stream: BufReader::new(Box::new(stream)),
            is_encrypted: false,
        })
    }

    /// Goes on encrypted, the peer being `host` unless `tls` names another. What the peer sent unasked before is a breach
    /// of the protocol.
    ///
    /// # Errors
    /// [`NetError::Tls`].
    pub async fn encrypt(self, tls: &Tls, host: &str) -> Result<Self, NetError> {
        let tls_error = |source| NetError::Tls { source };
        if !self.stream.buffer().is_empty() {
            let early = io::Error::new(
                io::ErrorKind::InvalidData,
                "the peer sent something before the handshake",
            );
            return Err(tls_error(early));
        }
        let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name)
            .map_err(|error| tls_error(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let connector = TlsConnector::from(tls.config.clone());
        let stream = connector
            .connect(name, self.stream.into_inner())
            .await
            .map_err(tls_error)?;
        Ok(Self {
            stream: BufReader::new(Box::new(stream)),
            is_encrypted: true,
        })
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// What the system says; also where the peer has gone, or the line has no end.
    pub async fn read_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(MAX_LINE);
        limited.read_until(b'\n', &mut line).await?;
        if line.pop() != Some(b'\n') {
            let reason = match line.len() as u64 + 1 >= MAX_LINE {
                true => "a line of more than 16 KiB",
                false => "the peer closed the connection",
            };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// What the system says.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}

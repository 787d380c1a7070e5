//! SOCKS 5 (RFC 1928), with name and password (RFC 1929) where the proxy's URL has them.

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::broke_off;

const VERSION: u8 = 5;
const WITHOUT_PASSWORD: u8 = 0;
const WITH_PASSWORD: u8 = 2;

/// Asks for a way to `host`; the error is what the proxy answered instead. Names are sent as they are: the proxy looks
/// them up.
pub(super) async fn ask<S>(
    stream: &mut S,
    user: Option<&(Vec<u8>, Vec<u8>)>,
    host: &str,
    port: u16,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let methods: &[u8] = match user {
        None => &[VERSION, 1, WITHOUT_PASSWORD],
        Some(_) => &[VERSION, 2, WITHOUT_PASSWORD, WITH_PASSWORD],
    };
    send(stream, methods).await?;
    match (read::<2, S>(stream).await?, user) {
        ([VERSION, WITHOUT_PASSWORD], _) => {}
        ([VERSION, WITH_PASSWORD], Some((name, password))) => {
            let mut pair = vec![1];
            for part in [name, password] {
                let len =
                    u8::try_from(part.len()).map_err(|_| "name and password may have 255 bytes each".to_owned())?;
                pair.push(len);
                pair.extend_from_slice(part);
            }
            send(stream, &pair).await?;
            let [_, status] = read(stream).await?;
            if status != 0 {
                return Err("name and password are refused".to_owned());
            }
        }
        ([VERSION, 0xff], None) => return Err("a name and a password are asked for".to_owned()),
        ([VERSION, _], _) => return Err("none of our ways to authenticate is accepted".to_owned()),
        _ => return Err("no SOCKS 5".to_owned()),
    }

    let mut wanted = vec![VERSION, 1, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            wanted.push(1);
            wanted.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            wanted.push(4);
            wanted.extend_from_slice(&address.octets());
        }
        Err(_) => {
            let len = u8::try_from(host.len()).map_err(|_| "the name has more than 255 bytes".to_owned())?;
            wanted.extend_from_slice(&[3, len]);
            wanted.extend_from_slice(host.as_bytes());
        }
    }
    wanted.extend_from_slice(&port.to_be_bytes());
    send(stream, &wanted).await?;
    let [version, reply, _, kind] = read(stream).await?;
    if version != VERSION {
        return Err("no SOCKS 5".to_owned());
    }
    if reply != 0 {
        return Err(reason(reply));
    }
    // The address it goes out from; nobody needs it.
    let len = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(read::<1, S>(stream).await?[0]),
        _ => return Err("an address of an unknown kind".to_owned()),
    };
    let mut rest = vec![0; len + 2];
    stream.read_exact(&mut rest).await.map_err(broke_off)?;
    Ok(())
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).await.map_err(broke_off)?;
    stream.flush().await.map_err(broke_off)
}

async fn read<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(broke_off)?;
    Ok(bytes)
}

// The words of the RFC, as Go's client has them.
fn reason(reply: u8) -> String {
    let known = match reply {
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => return format!("unknown code: {reply}"),
    };
    known.to_owned()
}

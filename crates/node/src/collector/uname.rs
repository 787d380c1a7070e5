//! `uname(2)`.

use cupola_exposition::MetricType::Gauge;

use crate::error::Collected;
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| String::from_utf8_lossy(part.to_bytes()).into_owned();
    ctx.out.family(
        "node_uname_info",
        "Labeled system information as provided by the uname system call.",
        Gauge,
    );
    ctx.out.sample(
        &[
            ("domainname", text(uname.domainname())),
            ("machine", text(uname.machine())),
            ("nodename", text(uname.nodename())),
            ("release", text(uname.release())),
            ("sysname", text(uname.sysname())),
            ("version", text(uname.version())),
        ],
        1.0,
    );
    Ok(())
}

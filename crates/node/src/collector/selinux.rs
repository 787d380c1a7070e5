//! Whether SELinux is on, and how strict. It is where its file system is mounted.

use cupola_exposition::MetricType::Gauge;

use crate::error::Collected;
use crate::parse::lines;
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let is_enabled = ctx
        .files
        .sys("fs/selinux/enforce")
        .map(|content| content.trim_ascii() == b"1");
    ctx.out.single(
        "node_selinux_enabled",
        "SELinux is enabled, 1 is true, 0 is false",
        Gauge,
        f64::from(u8::from(is_enabled.is_ok())),
    );
    let Ok(is_enforcing) = is_enabled else { return Ok(()) };
    let config = ctx.settings.options.rootfs.join("etc/selinux/config");
    let configured = match ctx.files.any(&config) {
        Ok(content) => lines(content)
            .find_map(|line| line.trim_ascii().strip_prefix(b"SELINUX="))
            .map_or(-1.0, mode),
        Err(_) => -1.0,
    };
    ctx.out.single(
        "node_selinux_config_mode",
        "Configured SELinux enforcement mode",
        Gauge,
        configured,
    );
    ctx.out.single(
        "node_selinux_current_mode",
        "Current SELinux enforcement mode",
        Gauge,
        f64::from(u8::from(is_enforcing)),
    );
    Ok(())
}

// As libselinux numbers them.
fn mode(word: &[u8]) -> f64 {
    match word.trim_ascii() {
        b"enforcing" => 1.0,
        b"permissive" => 0.0,
        _ => -1.0,
    }
}

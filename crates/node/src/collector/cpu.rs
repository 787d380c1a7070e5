//! CPU time by mode from `PROC/stat`, throttling, isolation and presence from sysfs.

use cupola_exposition::MetricType::{Counter, Gauge};

use super::cpuinfo;
use crate::error::Collected;
use crate::parse::{lines, uint, words};
use crate::registry::Ctx;

// In the order of the columns. The last two are the guests', which the kernel counts within user and nice as well.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const IDLE: usize = 3;
const COLUMNS: usize = MODES.len() + GUEST_MODES.len();

// The kernel tells ticks of a hundredth second, whatever its own timer does.
const TICKS_PER_SECOND: f64 = 100.0;
// Idle time that falls by so much means that the CPU was taken out and put in again.
const JUMP_BACK_SECONDS: f64 = 3.0;

/// The last value of each CPU and column. The kernel's counters now and then step back a little, which would look like
/// a restart: a smaller value is ignored.
#[derive(Debug, Default)]
pub(crate) struct CpuTimes {
    cpus: Vec<(u64, [f64; COLUMNS])>,
}

impl CpuTimes {
    fn update(&mut self, stat: &[u8]) {
        let mut present = Vec::with_capacity(self.cpus.len());
        for line in lines(stat) {
            let mut words = words(line);
            let id = words.next().and_then(|word| uint(word.strip_prefix(b"cpu")?));
            let Some(id) = id else { continue };
            let mut now = [0.0; COLUMNS];
            for (slot, word) in now.iter_mut().zip(words) {
                *slot = uint(word).unwrap_or(0) as f64 / TICKS_PER_SECOND;
            }
            let before = self.cpus.iter().find(|(known, _)| *known == id);
            if let Some((_, before)) = before
                && before[IDLE] - now[IDLE] < JUMP_BACK_SECONDS
            {
                for (now, before) in now.iter_mut().zip(before) {
                    *now = now.max(*before);
                }
            }
            present.push((id, now));
        }
        self.cpus = present;
    }
}

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    if ctx.settings.has_cpu_info() {
        cpuinfo::collect(ctx)?;
    }
    seconds(ctx)?;
    isolated(ctx);
    throttles(ctx);
    online(ctx);
    Ok(())
}

fn seconds(ctx: &mut Ctx<'_>) -> Collected {
    let mut times = ctx.state.cpu.lock();
    times.update(ctx.files.stat()?);
    let ids: Vec<String> = times.cpus.iter().map(|(id, _)| id.to_string()).collect();
    ctx.out.family(
        "node_cpu_seconds_total",
        "Seconds the CPUs spent in each mode.",
        Counter,
    );
    for (id, (_, values)) in ids.iter().zip(&times.cpus) {
        for (mode, value) in MODES.into_iter().zip(values) {
            ctx.out.sample(&[("cpu", id.as_str()), ("mode", mode)], *value);
        }
    }
    if !ctx.settings.options.cpu_guest {
        return Ok(());
    }
    ctx.out.family(
        "node_cpu_guest_seconds_total",
        "Seconds the CPUs spent in guests (VMs) for each mode.",
        Counter,
    );
    for (id, (_, values)) in ids.iter().zip(&times.cpus) {
        for (mode, value) in GUEST_MODES.into_iter().zip(values.iter().skip(MODES.len())) {
            ctx.out.sample(&[("cpu", id.as_str()), ("mode", mode)], *value);
        }
    }
    Ok(())
}

fn isolated(ctx: &mut Ctx<'_>) {
    let Ok(list) = ctx.files.sys("devices/system/cpu/isolated") else {
        return;
    };
    ctx.out.family(
        "node_cpu_isolated",
        "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
        Gauge,
    );
    for cpu in cpu_list(list.trim_ascii()) {
        ctx.out.sample(&[("cpu", cpu.to_string())], 1.0);
    }
}

// `1,3-5,9` as the kernel writes sets of CPUs. A range that no machine has is taken for a mistake and left out.
fn cpu_list(list: &[u8]) -> Vec<u64> {
    let mut cpus = Vec::new();
    for part in list.split(|b| *b == b',') {
        let mut ends = part.splitn(2, |b| *b == b'-').map(uint);
        let Some(first) = ends.next().flatten() else { continue };
        let last = ends.next().flatten().unwrap_or(first);
        if last.saturating_sub(first) < 1 << 16 {
            cpus.extend(first..=last);
        }
    }
    cpus
}

// CPUs share the counter of their core, cores that of their package: the first CPU speaks for them.
fn throttles(ctx: &mut Ctx<'_>) {
    let mut packages: Vec<(i64, i64)> = Vec::new();
    let mut cores: Vec<(i64, i64, i64)> = Vec::new();
    for cpu in ctx.files.cpus().iter() {
        let dir = format!("devices/system/cpu/{cpu}");
        // Virtual machines have no such counters; then the topology need not be read either.
        let core_count = ctx.files.number(&format!("{dir}/thermal_throttle/core_throttle_count"));
        let package_count = ctx
            .files
            .number(&format!("{dir}/thermal_throttle/package_throttle_count"));
        if core_count.is_none() && package_count.is_none() {
            continue;
        }
        let package = ctx.files.number(&format!("{dir}/topology/physical_package_id"));
        let core = ctx.files.number(&format!("{dir}/topology/core_id"));
        let (Some(package), Some(core)) = (package, core) else {
            continue;
        };
        if let Some(count) = core_count
            && !cores.iter().any(|(p, c, _)| (*p, *c) == (package, core))
        {
            cores.push((package, core, count));
        }
        if let Some(count) = package_count
            && !packages.iter().any(|(p, _)| *p == package)
        {
            packages.push((package, count));
        }
    }
    ctx.out.family(
        "node_cpu_core_throttles_total",
        "Number of times this CPU core has been throttled.",
        Counter,
    );
    for (package, core, count) in cores {
        ctx.out.sample(
            &[("core", core.to_string()), ("package", package.to_string())],
            count as f64,
        );
    }
    ctx.out.family(
        "node_cpu_package_throttles_total",
        "Number of times this CPU package has been throttled.",
        Counter,
    );
    for (package, count) in packages {
        ctx.out.sample(&[("package", package.to_string())], count as f64);
    }
}

// Where the first CPU has no switch, as on most virtual machines, nothing is told about any.
fn online(ctx: &mut Ctx<'_>) {
    let cpus = ctx.files.cpus();
    let has_switch = cpus.first().is_some_and(|cpu| ctx.files.number(&switch(cpu)).is_some());
    if !has_switch {
        return;
    }
    ctx.out
        .family("node_cpu_online", "CPUs that are online and being scheduled.", Gauge);
    for cpu in cpus.iter() {
        let is_online = ctx.files.number(&switch(cpu)) == Some(1);
        let id = cpu.strip_prefix("cpu").unwrap_or(cpu);
        ctx.out.sample(&[("cpu", id)], f64::from(u8::from(is_online)));
    }
}

fn switch(cpu: &str) -> String {
    format!("devices/system/cpu/{cpu}/online")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle_and_user(times: &CpuTimes) -> Vec<(u64, f64, f64)> {
        times.cpus.iter().map(|(id, v)| (*id, v[IDLE], v[0])).collect()
    }

    #[test]
    fn counters_do_not_step_back_unless_the_cpu_was_replaced() {
        let mut times = CpuTimes::default();
        times.update(b"cpu  9 9 9 9\ncpu0 1000 0 0 5000 0\ncpu1 100 0 0 500\nintr 1\n");
        assert_eq!(idle_and_user(&times), [(0, 50.0, 10.0), (1, 5.0, 1.0)]);
        times.update(b"cpu0 990 0 0 4990\ncpu1 110 0 0 510\n");
        assert_eq!(idle_and_user(&times), [(0, 50.0, 10.0), (1, 5.1, 1.1)]);
        // Three seconds of idle time lost: a new CPU under the old number. The other one is gone.
        times.update(b"cpu0 10 0 0 4700\n");
        assert_eq!(idle_and_user(&times), [(0, 47.0, 0.1)]);
    }

    #[test]
    fn sets_of_cpus() {
        assert_eq!(cpu_list(b"1,3-5,9"), [1, 3, 4, 5, 9]);
        assert_eq!(cpu_list(b""), Vec::<u64>::new());
        assert_eq!(cpu_list(b"x,7-5,0-99999999999,2"), [2]);
    }
}

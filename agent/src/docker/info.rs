//! What the machine is and has, for the report.

use std::sync::Arc;

use bollard::models::SystemInfo;
use gitops_core::status::{EngineCounts, HostInfo};

use super::offers;

/// Bytes in a GiB.
const GIB: u64 = 1 << 30;

/// What the engine says of the machine, and of the file system with its data where this process can see that.
pub(super) fn machine(info: &SystemInfo) -> HostInfo {
    let text = |field: &Option<String>| Arc::from(field.as_deref().unwrap_or_default());
    let (disk_bytes, disk_free_gib) = info.docker_root_dir.as_deref().and_then(disk).unwrap_or((0, 0));
    HostInfo {
        name: text(&info.name),
        docker: text(&info.server_version),
        os: system(info).into(),
        cpus: u32::try_from(number(info.ncpu)).unwrap_or(u32::MAX),
        memory_bytes: number(info.mem_total),
        disk_bytes,
        disk_free_gib,
        holds: counts(info),
        capabilities: offers::of_engine(info),
        ..HostInfo::default()
    }
}

fn number(field: Option<i64>) -> u64 {
    field.and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

/// None in an answer that counts nothing.
fn counts(info: &SystemInfo) -> Option<EngineCounts> {
    info.containers.map(|_| EngineCounts {
        containers: number(info.containers),
        running: number(info.containers_running),
        paused: number(info.containers_paused),
        stopped: number(info.containers_stopped),
        images: number(info.images),
    })
}

/// `Debian GNU/Linux 12 (bookworm), x86_64`.
fn system(info: &SystemInfo) -> String {
    let parts = [info.operating_system.as_deref(), info.architecture.as_deref()];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Size in bytes and free GiB of the file system that holds `path`; none where it cannot be seen from here.
fn disk(path: &str) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some((bytes(stat.f_blocks), bytes(stat.f_bavail) / GIB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_says_little_is_described_with_little() {
        assert_eq!(machine(&SystemInfo::default()), HostInfo::default());
    }

    #[test]
    fn the_disk_is_the_one_that_holds_the_data_of_the_engine() {
        let info = SystemInfo {
            docker_root_dir: Some("/".to_owned()),
            operating_system: Some("Debian".to_owned()),
            architecture: Some("x86_64".to_owned()),
            ncpu: Some(4),
            mem_total: Some(-1),
            containers: Some(6),
            containers_running: Some(3),
            containers_paused: Some(1),
            containers_stopped: Some(2),
            images: Some(9),
            ..SystemInfo::default()
        };
        let host = machine(&info);
        let counts = EngineCounts { containers: 6, running: 3, paused: 1, stopped: 2, images: 9 };
        assert_eq!(host.holds, Some(counts));
        assert_eq!((&*host.os, host.cpus, host.memory_bytes), ("Debian, x86_64", 4, 0));
        assert!(host.disk_bytes / GIB >= host.disk_free_gib && host.disk_bytes > 0);
        assert_eq!(disk("/no/such/folder"), None);
    }
}

//! Resident memory of the processes of a run, as the system reports it.

use std::{fs, path::Path};

/// Resident memory of a process and its children in bytes; none if it is no process of fluxbay on
/// this machine, or the system does not say.
pub(crate) fn resident(process: u32) -> Option<u64> {
    resident_in(Path::new("/proc"), process)
}

fn resident_in(system: &Path, process: u32) -> Option<u64> {
    let folder = system.join(process.to_string());
    // The number may be that of another process by now, or on another machine.
    let name = fs::read_to_string(folder.join("comm")).ok()?;
    if !name.starts_with("fluxbay") && name.trim() != "exe" {
        return None;
    }
    let children = fs::read_to_string(folder.join(format!("task/{process}/children")));
    let children = children.unwrap_or_default();
    let all = std::iter::once(process).chain(children.split_whitespace().flat_map(str::parse));
    let sizes = all.filter_map(|process| {
        let status = fs::read_to_string(system.join(process.to_string()).join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    Some(1024 * sizes.sum::<u64>()).filter(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_counts_with_its_children_and_others_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let system = folder.path();
        for (process, name, size) in [(7, "fluxbay\n", 10), (8, "exe\n", 200), (9, "editor\n", 4)] {
            let of = system.join(process.to_string());
            fs::create_dir_all(of.join(format!("task/{process}"))).unwrap();
            fs::write(of.join("comm"), name).unwrap();
            fs::write(of.join("status"), format!("Name: x\nVmRSS:\t    {size} kB\n")).unwrap();
        }
        fs::write(system.join("7/task/7/children"), "8 ").unwrap();
        assert_eq!(resident_in(system, 7), Some(210 * 1024));
        assert_eq!(resident_in(system, 9), None);
        assert_eq!(resident_in(system, 10), None);
    }
}

//! `fluxbay doctor`: what this machine offers to runs on several processes, and what is missing.
//!
//! | file | content |
//! |---|---|
//! | `machine` | processors, memory, limits, network |
//! | `mpi` | launchers and libraries, and which belong together |

mod machine;
mod mpi;

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;

use super::outcome::Outcome;
use super::output::{print, print_json};
use super::plugin_path::PluginPath;
use super::train::local_ranks;
use crate::display::bytes;
use crate::library::{Kind, escape};
use machine::{Interface, Machine};
use mpi::{Family, Installed, Launcher, Library};

/// Least open files of a process that are enough for a run with some ranks and a loader.
const OPEN_FILES: u64 = 1024;
/// Least shared memory through which ranks of a machine exchange messages without being short of it.
const SHARED_MEMORY: u64 = 256_000_000;
/// Variables that allow `mpirun` of Open MPI to be started by root.
const AS_ROOT: [&str; 2] = ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"];

/// Arguments of `fluxbay doctor`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Write JSON, as `fluxbay schema doctor` describes.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    path: PluginPath,
}

/// Something that keeps runs on several processes from working, or makes them slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Problem {
    /// What was found.
    what: String,
    /// What to do about it.
    help: String,
}

/// The plugin with the communicator `mpi`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Plugin {
    name: String,
    version: String,
    path: String,
}

/// All that was found.
struct Found {
    machine: Machine,
    installed: Installed,
    plugin: Option<Plugin>,
    /// Whether this command runs as root without the variables with which Open MPI allows that.
    refuses_root: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let catalog = arguments.path.scan(&[]);
    let plugin = catalog.find(Kind::Communicator, "mpi").ok().map(|one| Plugin {
        name: one.plugin.name().to_owned(),
        version: one.plugin.version().to_owned(),
        path: one.plugin.path().to_string_lossy().into_owned(),
    });
    let found = Found {
        machine: Machine::look(),
        installed: Installed::look(),
        plugin,
        refuses_root: rustix::process::geteuid().is_root()
            && AS_ROOT.iter().any(|name| std::env::var_os(name).is_none()),
    };
    if arguments.json { print_json(&found.json()) } else { print(&found.text()) }
}

impl Found {
    /// The launcher that `--ranks` starts: the first of its list that is there.
    fn of_ranks(&self) -> Option<&Launcher> {
        local_ranks::LAUNCHERS.iter().find_map(|name| self.installed.launcher(name))
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |what: String, help: &str| {
            problems.push(Problem { what, help: help.to_owned() });
        };
        if self.plugin.is_none() {
            add(
                "no plugin has the communicator `mpi`".to_owned(),
                "put the plugin `fluxbay-mpi` beside the others, or name its folder with `--plugin-dir`",
            );
        }
        if self.installed.launchers.is_empty() {
            add(
                "no launcher of MPI is installed".to_owned(),
                "install Open MPI (`apt install openmpi-bin`) or MPICH (`apt install mpich`); on a cluster, load its module of MPI",
            );
        }
        for launcher in &self.installed.launchers {
            if launcher.library.is_none() && launcher.family != Family::Slurm {
                add(
                    format!(
                        "{} of {} has no library that belongs to it (looked for {})",
                        launcher.names.join(", "),
                        launcher.family.name(),
                        launcher.family.libraries().join(", ")
                    ),
                    "install the package with that library, add its folder to LD_LIBRARY_PATH, or name the file as `library` in [communicator]",
                );
            }
        }
        let has_open_mpi = self.installed.launchers.iter().any(|one| one.family == Family::OpenMpi);
        if has_open_mpi && self.refuses_root {
            add(
                "`mpirun` of Open MPI refuses to be started by root".to_owned(),
                "use another user; or, in a container, set OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
            );
        }
        if let Some((limit, _)) = self.machine.open_files
            && limit < OPEN_FILES
        {
            add(
                format!("a process may open {limit} files only"),
                "raise the limit before the run is started: `ulimit -n 4096`",
            );
        }
        if let Some((size, _)) = self.machine.shared_memory
            && size < SHARED_MEMORY
        {
            add(
                format!(
                    "/dev/shm, through which the ranks of a machine exchange messages, has {} only",
                    bytes(size)
                ),
                "start the container with more, such as `--shm-size=1g`",
            );
        }
        if !self.machine.has_address {
            add(
                format!("the name of this machine, `{}`, has no address", self.machine.name),
                "add it to /etc/hosts, or to the name server: launchers look for it",
            );
        }
        problems
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "schema": 1,
            "machine": self.machine,
            "launchers": self.installed.launchers,
            "libraries": self.installed.libraries,
            "ranks-launcher": self.of_ranks().map(|launcher| &launcher.names[0]),
            "started-by": mpi::started_by(|name| std::env::var_os(name).is_some()),
            "plugin": self.plugin,
            "problems": self.problems(),
        })
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let machine = &self.machine;
        let _ = writeln!(out, "Machine {}", escape::text(&machine.name));
        let mut row = |name: &str, value: String| {
            let _ = writeln!(out, "  {name:<14} {value}");
        };
        row("processors", format!("{} ({})", machine.processors, escape::text(&machine.processor)));
        row("memory", amount(machine.memory));
        if let Some((limit, most)) = machine.open_files {
            let most = most.map_or_else(|| "any number".to_owned(), |most| most.to_string());
            row("open files", format!("{limit} in a process, at most {most}"));
        }
        row("shared memory", amount(machine.shared_memory));
        for (index, interface) in machine.network.iter().enumerate() {
            row(if index == 0 { "network" } else { "" }, describe(interface));
        }
        if !machine.infiniband.is_empty() {
            row("InfiniBand", machine.infiniband.join(", "));
        }
        out.push_str("\nMPI\n");
        let mut rows = |title: &str, lines: Vec<String>| {
            let lines = if lines.is_empty() { vec!["none found".to_owned()] } else { lines };
            for (index, line) in lines.iter().enumerate() {
                let _ = writeln!(out, "  {:<14} {line}", if index == 0 { title } else { "" });
            }
        };
        rows("launchers", self.installed.launchers.iter().map(Launcher::line).collect());
        rows("libraries", self.installed.libraries.iter().map(Library::line).collect());
        let plugin = self.plugin.as_ref().map(|plugin| {
            let path = escape::text(&plugin.path);
            format!("{} {} ({path})", escape::text(&plugin.name), escape::text(&plugin.version))
        });
        rows("plugin", plugin.into_iter().collect());
        let starts = self.of_ranks().map(|launcher| match &launcher.library {
            Some(library) => format!("starts {}, with {library}", launcher.names[0]),
            None => format!("starts {}, which has no library", launcher.names[0]),
        });
        rows("--ranks N", starts.into_iter().collect());
        let problems = self.problems();
        if problems.is_empty() {
            out.push_str("\nNo problem was found.\n");
        } else {
            out.push_str("\nProblems\n");
        }
        for Problem { what, help } in problems {
            let _ = writeln!(out, "  {}\n    {help}", escape::text(&what));
        }
        out
    }
}

/// A size with what is free of it.
fn amount(found: Option<(u64, u64)>) -> String {
    found.map_or_else(
        || "unknown".to_owned(),
        |(size, free)| format!("{}, of which {} are free", bytes(size), bytes(free)),
    )
}

fn describe(interface: &Interface) -> String {
    let speed = interface.speed.map(|speed| format!(", {speed} Mbit/s")).unwrap_or_default();
    format!(
        "{}: {}{speed}, packets of {} bytes",
        escape::text(&interface.name),
        escape::text(&interface.state),
        interface.mtu
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        let library = Library {
            name: "libmpi.so.40".to_owned(),
            path: "/lib/libmpi.so.40.30.4".to_owned(),
            family: Family::OpenMpi,
        };
        let launcher = Launcher {
            names: vec!["mpirun".to_owned(), "mpiexec".to_owned()],
            path: "/usr/bin/orterun".to_owned(),
            family: Family::OpenMpi,
            version: "4.1.4".to_owned(),
            library: Some("libmpi.so.40".to_owned()),
        };
        Found {
            machine: Machine {
                name: "node".to_owned(),
                processor: "a processor".to_owned(),
                processors: 4,
                memory: Some((8_000_000_000, 2_000_000_000)),
                open_files: Some((4096, None)),
                shared_memory: Some((1_000_000_000, 500_000_000)),
                has_address: true,
                network: vec![Interface {
                    name: "eth0".to_owned(),
                    state: "up".to_owned(),
                    speed: Some(10_000),
                    mtu: 1500,
                }],
                infiniband: Vec::new(),
            },
            installed: Installed { launchers: vec![launcher], libraries: vec![library] },
            plugin: Some(Plugin {
                name: "fluxbay-mpi".to_owned(),
                version: "1.0.0".to_owned(),
                path: "/plugins/mpi.so".to_owned(),
            }),
            refuses_root: false,
        }
    }

    #[test]
    fn a_machine_where_everything_fits_has_no_problem() {
        insta::assert_snapshot!(found().text(), @r"
        Machine node
          processors     4 (a processor)
          memory         8.0 GB, of which 2.0 GB are free
          open files     4096 in a process, at most any number
          shared memory  1.0 GB, of which 500.0 MB are free
          network        eth0: up, 10000 Mbit/s, packets of 1500 bytes

        MPI
          launchers      mpirun, mpiexec (/usr/bin/orterun): Open MPI 4.1.4, with libmpi.so.40
          libraries      libmpi.so.40 (/lib/libmpi.so.40.30.4): Open MPI
          plugin         fluxbay-mpi 1.0.0 (/plugins/mpi.so)
          --ranks N      starts mpirun, with libmpi.so.40

        No problem was found.
        ");
        assert_eq!(found().json()["ranks-launcher"], "mpirun");
    }

    #[test]
    fn what_is_missing_or_too_small_is_said_with_what_to_do() {
        let mut all = found();
        all.plugin = None;
        all.installed.launchers[0].library = None;
        all.refuses_root = true;
        all.machine.open_files = Some((256, Some(512)));
        all.machine.shared_memory = Some((64_000_000, 64_000_000));
        all.machine.has_address = false;
        let problems = all.problems();
        let expected = [
            ("communicator `mpi`", "fluxbay-mpi"),
            ("no library that belongs to it (looked for libmpi.so.40)", "LD_LIBRARY_PATH"),
            ("root", "OMPI_ALLOW_RUN_AS_ROOT=1"),
            ("256 files", "ulimit -n"),
            ("64.0 MB only", "--shm-size"),
            ("`node`, has no address", "/etc/hosts"),
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, (what, help)) in problems.iter().zip(expected) {
            assert!(problem.what.contains(what) && problem.help.contains(help), "{problem:?}");
        }
        all.installed.launchers.clear();
        assert!(all.problems()[1].what.contains("no launcher"), "{:#?}", all.problems());
        assert!(all.text().contains("--ranks N      none found"), "{}", all.text());
    }
}

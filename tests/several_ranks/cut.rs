//! A network that is cut between two ranks: they are in network namespaces of their own.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fluxbay_tests::{run, write};

use crate::place::{ADAMW, MLP, Place, digits};

const LIMIT: Duration = Duration::from_secs(60);

/// Two namespaces with a link between them; removed at the end.
struct Namespaces {
    names: [String; 2],
}

impl Namespaces {
    /// `None` where namespaces cannot be made.
    fn new() -> Option<Namespaces> {
        let names = ["a", "b"].map(|side| format!("fluxbay-{}-{side}", std::process::id()));
        let made = Namespaces { names };
        let [a, b] = &made.names;
        let link = format!("link add one netns {a} type veth peer name two netns {b}");
        let steps = [
            format!("netns add {a}"),
            format!("netns add {b}"),
            link,
            format!("-n {a} addr add 10.77.0.1/24 dev one"),
            format!("-n {b} addr add 10.77.0.2/24 dev two"),
            format!("-n {a} link set one up"),
            format!("-n {b} link set two up"),
            format!("-n {a} link set lo up"),
            format!("-n {b} link set lo up"),
        ];
        let is_done = steps.iter().all(|step| ip(step));
        is_done.then_some(made)
    }

    fn cut(&self) {
        assert!(ip(&format!("-n {} link set one down", self.names[0])));
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}"));
        }
    }
}

fn ip(arguments: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments.split(' ')).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A launcher and its daemons, which do not notice that the network is cut.
struct Launcher {
    process: Child,
    daemons: PathBuf,
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let daemons = std::fs::read_to_string(&self.daemons).unwrap_or_default();
        for process in daemons.lines().filter_map(|line| line.parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(process) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_cut_network_ends_the_ranks_on_both_sides_within_the_deadline() {
    let version = Command::new("mpirun.openmpi").arg("--version").output();
    let Some(namespaces) = version.ok().and_then(|_| Namespaces::new()) else {
        eprintln!("skipped: it needs Open MPI, and root who may make network namespaces");
        return;
    };
    let text = digits("", &format!("{MLP}{ADAMW}[checkpoints]\nevery-steps = 2\nkeep-last = 2\n"));
    let text = text.replace("component = \"sockets\"", "component = \"mpi\"");
    let text = text.replace("epochs = 2", "epochs = 100000");
    let place = Place::new(&text.replace("rank-timeout = 60", "rank-timeout = 4"));
    let [a, b] = &namespaces.names;
    // What starts the daemon on the other machine: it enters the other namespace, under another name.
    let daemons = place.path("daemons");
    let agent = format!(
        "#!/bin/sh\nshift\necho $$ >> {}\nexec ip netns exec {b} unshare --uts sh -c \"hostname other; exec $*\"\n",
        daemons.display()
    );
    let agent = write(place.dir.path(), "agent", &agent);
    assert_eq!(run(Command::new("chmod").arg("+x").arg(&agent)).code, Some(0));
    let train = place.fluxbay(&["train", "run.toml", "--run-dir", "out"]);
    let mut command = Command::new("ip");
    command.args(["netns", "exec", a, "mpirun.openmpi", "-np", "2"]);
    command.args(["-host", "10.77.0.1:1,10.77.0.2:1", "--mca", "btl", "tcp,self"]);
    command.args(["--mca", "btl_tcp_if_include", "10.77.0.0/24"]);
    command.args(["--mca", "oob_tcp_if_include", "10.77.0.0/24"]);
    command.args(["--mca", "plm_rsh_agent"]).arg(&agent);
    command.arg(train.get_program()).args(train.get_args());
    command.current_dir(place.dir.path()).env_clear();
    command.envs(train.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.env("TMPDIR", place.dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let launcher = Launcher { process: command.spawn().unwrap(), daemons };
    let checkpoints = place.path("out/checkpoints");
    wait_for("no checkpoint was written", || {
        std::fs::read_dir(&checkpoints).is_ok_and(|mut all| all.next().is_some())
    });
    namespaces.cut();
    for rank in [0, 1] {
        wait_for("a rank did not notice", || {
            place.state_of_rank("out", rank)["status"] != "running"
        });
        let state = place.state_of_rank("out", rank);
        assert_eq!(state["status"], "failed", "{state}");
        assert!(state["reason"].as_str().unwrap().contains("cannot reach"), "{state}");
        let process = PathBuf::from(format!("/proc/{}/exe", state["process"]));
        wait_for("a process is still there", || std::fs::read_link(&process).is_err());
    }
    assert_eq!(place.state("out")["status"], "failed");
    drop(launcher);
    place.succeed(1, &["resume", "out", "--set", "run.max-time=0.01"]);
}
